-- Version 3: what bounds a case, which clock timed it, and what else its worker said when it prepared it. A record before
-- version 3 says nothing of these.

ALTER TABLE cases ADD COLUMN memory_level VARCHAR;             -- l1, shared, l2, l3, dram, host; NULL: no bound of bytes
ALTER TABLE cases ADD COLUMN arithmetic_unit VARCHAR;          -- f32, bf16-tensor, ...; NULL: no bound of arithmetic
ALTER TABLE cases ADD COLUMN clock_resolution_ns UBIGINT;      -- NULL: the host's clock, whose resolution the run has
ALTER TABLE cases ADD COLUMN facts VARCHAR DEFAULT '{}';       -- JSON object: registers of kernels, versions of libraries

-- A point for each case in a plane of arithmetic intensity and performance: S. Williams, A. Waterman, D. Patterson,
-- "Roofline: an insightful visual performance model for multicore architectures", CACM 52(4), 2009.
CREATE VIEW rooflines AS
SELECT runs.run, cases.case_id, cases.arm, cases.device, cases.memory_level, cases.arithmetic_unit,
       points.time_ns,
       CAST(json_extract_string(cases.work, '$.flops') AS DOUBLE) / CAST(json_extract_string(cases.work, '$.bytes') AS DOUBLE) AS flops_per_byte,
       CAST(json_extract_string(cases.work, '$.flops') AS DOUBLE) / points.time_ns * 1e9 AS flops_per_second,
       CAST(json_extract_string(cases.work, '$.bytes') AS DOUBLE) / points.time_ns * 1e9 AS bytes_per_second
FROM cases
JOIN runs ON runs.run_key = cases.run_key
JOIN (
    SELECT results.run_key, results.case_no, results.arm_no, median(round_values.number) AS time_ns
    FROM results JOIN round_values ON round_values.run_key = results.run_key AND round_values.block = results.block
    WHERE round_values.metric = 'time' AND round_values.counts
    GROUP BY results.run_key, results.case_no, results.arm_no
) points ON points.run_key = cases.run_key AND points.case_no = cases.case_no AND points.arm_no = cases.arm_no
WHERE CAST(json_extract_string(cases.work, '$.bytes') AS DOUBLE) > 0;
