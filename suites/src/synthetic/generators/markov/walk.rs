//! Texts of a chain, several at a time: while one waits for memory, the others go on.

use std::ops::Range;

use super::super::super::random::{Bits as _, Draws, alias};
use super::{Context, Maker, Unit};

/// Random stream of its items.
const STREAM: u64 = 24;
/// Texts that are walked side by side. Each step asks for an entry that is in no near cache; a core keeps about as many requests under way.
const TOGETHER: usize = 8;
/// Bytes that are copied for a unit, which most are shorter than: a length that is known when compiling needs no loop and no guess.
pub(super) const PIECE: usize = 16;

/// A text on its way, behind those that the same walker made before it.
struct Walker {
    draws: Draws,
    context: Context,
    /// How many units may follow.
    left: usize,
    /// Which text, counted from the first of all.
    text: usize,
    begin: usize,
    bytes: Vec<u8>,
    /// How many of the bytes are written.
    written: usize,
}

/// Where a text lies when it is done: whose bytes, and which of them.
#[derive(Clone, Default)]
struct Place {
    walker: usize,
    bytes: Range<usize>,
}

impl Maker {
    /// Appends texts `items`, each with the end of its line. A text is the same bytes, whichever are made beside it.
    pub(super) fn append_texts(&self, seed: u64, items: Range<u64>, out: &mut Vec<u8>) {
        let draws = |text: usize| Draws::of_row(seed, STREAM, items.start + text as u64);
        let texts = (items.end - items.start) as usize;
        let mut places = vec![Place::default(); texts];
        let mut walkers: Vec<Walker> = (0..TOGETHER.min(texts))
            .map(|text| Walker::new(self, text, draws(text)))
            .collect();
        let mut next = walkers.len();
        let mut walking: Vec<usize> = (0..walkers.len()).collect();
        while !walking.is_empty() {
            let mut turn = 0;
            while turn < walking.len() {
                let walker = &mut walkers[walking[turn]];
                if walker.step(self) {
                    turn += 1;
                    continue;
                }
                places[walker.text] = Place {
                    walker: walking[turn],
                    bytes: walker.begin..walker.written,
                };
                if next < texts {
                    walker.start(self, next, draws(next));
                    next += 1;
                } else {
                    walking.swap_remove(turn);
                }
            }
        }
        let has_blank = self.recipe.unit == Unit::Word;
        for place in places {
            let text = &walkers[place.walker].bytes[place.bytes];
            // The blank that a line's first word was taken to have.
            let without = text.strip_prefix(b" ").filter(|_| has_blank);
            out.extend_from_slice(without.unwrap_or(text));
            out.push(b'\n');
        }
    }
}

impl Walker {
    fn new(chain: &Maker, text: usize, draws: Draws) -> Self {
        Self {
            draws,
            context: chain.start,
            left: chain.recipe.most_units,
            text,
            begin: 0,
            bytes: vec![0; 256],
            written: 0,
        }
    }

    fn start(&mut self, chain: &Maker, text: usize, draws: Draws) {
        self.draws = draws;
        self.context = chain.start;
        self.left = chain.recipe.most_units;
        self.text = text;
        self.begin = self.written;
    }

    /// Goes on by a unit, or by falling back; false where the text ends.
    #[inline]
    fn step(&mut self, chain: &Maker) -> bool {
        let first = self.context.first as usize;
        let behind = &chain.entries[first..first + self.context.entries as usize];
        let entry = &behind[alias::draw(behind, self.draws.word())];
        let (from, len) = (entry.from as usize, entry.len as usize);
        if self.written + len + PIECE > self.bytes.len() {
            self.bytes.resize(2 * self.bytes.len() + len, 0);
        }
        // More than the unit, unless it is longer: what follows is written over the rest.
        let to = &mut self.bytes[self.written..];
        to[..PIECE].copy_from_slice(&chain.texts[from..from + PIECE]);
        if len > PIECE {
            to[..len].copy_from_slice(&chain.texts[from..from + len]);
        }
        self.written += len;
        self.left -= usize::from(len > 0);
        self.context = entry.next;
        self.context.entries > 0 && self.left > 0
    }
}
