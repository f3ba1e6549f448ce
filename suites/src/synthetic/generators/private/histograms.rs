//! Private columns with nothing between them: one release of the counts of all columns, by the mechanism that is asked for.

use super::{Coarse, Measured, Private};
use crate::synthetic::declared::ColumnSchema;
use crate::synthetic::generators::FitError;
use crate::synthetic::privacy::Budget;
use crate::synthetic::privacy::accountant::Accountant;
use crate::synthetic::privacy::discrete::Sampler;
use crate::synthetic::privacy::mechanism::Mechanism;
use crate::synthetic::progress::Progress;
use crate::synthetic::table::Table;

use super::tree::Tree;

/// Learns each column of a table within a budget; `sampler` decides the noise: [`crate::synthetic::random::Secret`] where the table is
/// private. Ranges and texts of declared columns are those of the declaration, whatever the table has. `progress` says how far it is.
///
/// # Errors
/// If there are no rows, or the mechanism has no noise for such a budget.
pub fn fit(
    table: &Table,
    declared: &[ColumnSchema],
    budget: Budget,
    mechanism: Mechanism,
    sampler: &mut impl Sampler,
    progress: &Progress,
) -> Result<Private, FitError> {
    let mut coarse = Coarse::of(table, declared)?;
    let columns = table.columns.len();
    let counts = coarse.histograms();
    let mut accountant = Accountant::new(budget);
    let noise = mechanism.noise(&accountant, columns)?;
    let words = format!(
        "{} on {} counts, of which a row changes {columns}: {}",
        noise.words(),
        counts.iter().map(Vec::len).sum::<usize>(),
        mechanism.words()
    );
    accountant.spend("counts of all columns", words, noise.cost())?;
    progress.begin("counts of columns", columns);
    let mut singles: Vec<Measured> = Vec::new();
    for counts in &counts {
        singles.push(Measured::of(counts, &noise, sampler));
        progress.step();
    }
    coarse.compress(&mut singles);
    let tree = Tree::new(&[], &coarse.sizes(), &singles, &[]);
    Ok(coarse.model(tree, &accountant))
}
