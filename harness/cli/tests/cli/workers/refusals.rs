//! What is asked wrongly is refused in words, and the worker goes on.

use assay_protocol::{MAX_LINE_BYTES, Reply, Request, TimingMode};

use super::host::example;
use super::{HELLO, chunk, failed, hello, lines, prepare, saxpy, session};

/// Gives the example each line after these requests, and expects refusals in these words.
#[track_caller]
fn refused(before: &[Request], bad: &[(String, &str)]) {
    let Some(program) = example() else { return };
    let mut input = lines(before);
    for (line, _) in bad {
        input.extend_from_slice(line.as_bytes());
        input.push(b'\n');
    }
    input.extend(lines(&[hello()]));
    // A refusal ends the reply to any request.
    let requests = [before, &vec![Request::Verify; bad.len()], &[hello()]].concat();
    let said = session(&program, &[], &input).exits(0);
    let (_, ends) = said.judged(&requests);
    for ((line, words), end) in bad.iter().zip(&ends[before.len()..]) {
        let (Reply::Failed { reason } | Reply::Skipped { reason }) = end else {
            panic!("{line:.200}: {end:?}")
        };
        assert!(reason.contains(words), "{line:.200}: {reason}, not {words}");
    }
    assert!(matches!(ends.last(), Some(Reply::Hello(_))));
}

#[test]
fn what_is_no_request() {
    let bad = [
        ("", "expected a value at byte 0"),
        ("not json", "expected a value"),
        ("{}", "field `request` is missing"),
        ("[1,2", "expected `,` or `]`"),
        ("{\"a\":1", "expected `,` or `}`"),
        ("{\"a\" 1}", "expected `:`"),
        ("{a:1}", "expected a member's name"),
        ("[]", "expected an object"),
        (r#"{"request":"hello"} x"#, "expected the end at byte 20"),
        (
            r#"{"request":"hello","request":"hello"}"#,
            "each member once",
        ),
        (r#"{"request":"dance"}"#, "no request is called `dance`"),
        (r#"{"request":7}"#, "field `request` is no text"),
        (r#"{"request":"\ud83d"}"#, "second half of a surrogate pair"),
        (
            r#"{"request":"\ud83d\u0041"}"#,
            "second half of a surrogate pair",
        ),
        (r#"{"request":"\udc00"}"#, "no lone surrogate"),
        (r#"{"request":"\u00g0"}"#, "four hexadecimal digits"),
        (r#"{"request":"\q"}"#, "an escape"),
        (r#"{"request":"hel"#, "text in UTF-8 and its end"),
        ("{\"request\":\"a\u{1}\"}", "text in UTF-8"),
        ("[1e999]", "a number that a double can hold"),
        ("[01]", "no leading zero"),
        ("[-]", "a digit"),
        ("[1.]", "a digit"),
        ("[1e]", "a digit"),
        (r#"{"request":"verify"}"#, "no case is prepared"),
        (r#"{"request":"teardown"}"#, "no case is prepared"),
    ];
    let mut bad = bad.map(|(line, words)| (line.to_owned(), words)).to_vec();
    bad.push(("[".repeat(1000), "less nesting"));
    let members: Vec<_> = (0..2000).map(|i| format!("\"{i}\":0")).collect();
    bad.push((format!("{{{}}}", members.join(",")), "fewer members"));
    refused(&[], &bad);
}

/// A good case, with one part of it changed.
fn case(from: &str, to: &str) -> String {
    let good = r#"{"request":"prepare","case":{"workload":"cpp-saxpy","params":{"elements":8,"a":1},"seed":"7","device":"cpu","timing":"hot"}}"#;
    assert!(good.contains(from), "{from}");
    good.replacen(from, to, 1)
}

#[test]
fn a_case_that_does_not_fit() {
    let bad = [
        (r#""case""#, r#""cases""#, "field `case` is missing"),
        (r#""seed":"7","#, "", "field `seed` is missing"),
        (r#""7""#, "7", "field `seed` is no text"),
        (r#""7""#, r#""07""#, "field `seed` is no unsigned"),
        (
            r#""7""#,
            r#""18446744073709551616""#,
            "field `seed` is no unsigned",
        ),
        (
            r#""hot""#,
            r#""hot","command":{}"#,
            "unknown field `command`",
        ),
        (r#""hot""#, r#""tepid""#, "no timing mode is called `tepid`"),
        (
            r#""hot""#,
            r#""cold""#,
            "does not support timing mode `cold`",
        ),
        (r#""cpu""#, r#""gpu""#, "`gpu` selects no device"),
        (r#""cpu""#, r#""cuda:""#, "`cuda:` selects no device"),
        (
            r#""cpu""#,
            r#""cuda:0""#,
            "`cpp-saxpy` does not run on cuda devices",
        ),
        ("cpp-saxpy", "saxpy", "no workload is called `saxpy`"),
        (r#""elements":8,"#, "", "parameter `elements` is missing"),
        (
            r#""a":1"#,
            r#""a":1,"b":1"#,
            "`cpp-saxpy` has no parameter `b`",
        ),
        (
            r#""a":1"#,
            r#""a":true"#,
            "`a`: expected a number, found true",
        ),
        (":8", ":0", "`elements`: expected at least 1, found 0"),
        (":8", ":-8", "`elements`: expected at least 1, found -8"),
        (":8", ":8.5", "`elements`: expected an integer, found 8.5"),
        (
            ":8",
            r#":"8""#,
            "`elements`: expected an integer, found \"8\"",
        ),
        (
            ":8",
            ":[8]",
            "`elements`: expected true, false, a number or text",
        ),
        (
            ":8",
            ":99999999999999999999",
            "`elements`: expected an integer",
        ),
        (
            r#"{"elements":8,"a":1}"#,
            "[]",
            "field `params` is no object",
        ),
    ];
    refused(&[], &bad.map(|(from, to, words)| (case(from, to), words)));
}

#[test]
fn a_chunk_that_cannot_be() {
    let bad = [
        (
            r#""max_samples":0,"max_ns":1,"min_sample_ns":1"#,
            "`max_samples` is 0",
        ),
        (
            r#""max_samples":100001,"max_ns":1,"min_sample_ns":1"#,
            "expected 1 to 100000",
        ),
        (
            r#""max_samples":1,"max_ns":-1,"min_sample_ns":1"#,
            "`max_ns` is no unsigned",
        ),
        (
            r#""max_samples":1,"max_ns":1.5,"min_sample_ns":1"#,
            "`max_ns` is no unsigned",
        ),
        (
            r#""max_samples":1,"max_ns":1"#,
            "`min_sample_ns` is missing",
        ),
        (
            r#""max_samples":1,"max_ns":1,"min_sample_ns":1,"more":1"#,
            "unknown field `more`",
        ),
    ];
    let bad = bad.map(|(rest, words)| (format!(r#"{{"request":"sample",{rest}}}"#), words));
    let before = prepare("cpp-saxpy", "cpu", TimingMode::Hot, saxpy(8));
    refused(&[before], &bad);
}

#[test]
fn what_is_no_utf8() {
    let Some(program) = example() else { return };
    let bad: [&[u8]; 10] = [
        b"\x80",
        b"\xc0\x80",
        b"\xc3",
        b"\xe0\x9f\xbf",
        b"\xed\xa0\x80",
        b"\xe2\x82",
        b"\xf0\x8f\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xf0\x9f\x98",
        b"\xf8\x88\x80\x80\x80",
    ];
    let mut input = Vec::new();
    for bytes in bad {
        input.extend([b"{\"request\":\"", bytes, b"\"}\n"].concat());
    }
    let requests = vec![Request::Verify; bad.len()];
    let (_, ends) = session(&program, &[], &input).exits(0).judged(&requests);
    for (bytes, end) in bad.iter().zip(&ends) {
        let words = "expected text in UTF-8 and its end at byte 12";
        assert!(failed(end).contains(words), "{bytes:x?}: {end:?}");
    }
}

#[test]
fn lines_of_any_length_and_any_bytes() {
    let Some(program) = example() else { return };
    let padding = " ".repeat(MAX_LINE_BYTES - HELLO.len());
    let mut input = b"\xff\xfe\n{\"request\":\"\xc0\x80\"}\n\0\n".to_vec();
    input.extend(format!("{HELLO}{padding} \n").into_bytes());
    // The longest line that is allowed, and one without its newline at the end of the input.
    input.extend(format!("{HELLO}{padding}\n{HELLO}").into_bytes());
    let requests = vec![hello(); 6];
    let said = session(&program, &[], &input).exits(0);
    let (_, ends) = said.judged(&requests);
    for end in &ends[..3] {
        failed(end);
    }
    assert_eq!(failed(&ends[3]), "a request is longer than 1048576 bytes");
    for end in &ends[4..] {
        assert!(matches!(end, Reply::Hello(_)), "{end:?}");
    }
}

/// Requests of a whole visit, each broken in many ways: whatever comes, a reply of the protocol goes out.
#[test]
fn broken_requests_never_break_the_worker() {
    let Some(program) = example() else { return };
    let visit = [
        hello(),
        prepare("cpp-saxpy", "cpu", TimingMode::Hot, saxpy(8)),
        chunk(2, 0),
        Request::Verify,
        Request::Teardown,
    ];
    let whole = lines(&visit);
    let good: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    let random = assay_protocol::Philox::new(1, 0);
    let mut input = Vec::new();
    let count: usize = 5000;
    for index in 0..count {
        let words = random.block(index as u64);
        let line = good[index % good.len()];
        let mut line = line[..line.len() - 1].to_vec();
        let at = words[0] as usize % line.len();
        match words[1] % 3 {
            0 => line[at] = b"\"\\{}[],:0e.-\x00\x80\xf4u"[words[2] as usize % 16],
            1 => drop(line.remove(at)),
            _ => line.truncate(at),
        }
        input.extend(line);
        input.push(b'\n');
    }
    let said = session(&program, &[], &input).exits(0);
    let mut ends = 0;
    for line in &said.replies {
        let line: assay_protocol::message::Line = serde_json::from_slice(line).unwrap();
        ends += usize::from(!matches!(line.reply, Reply::Sample(_)));
    }
    assert_eq!(ends, count);
}
