//! Verdicts and store to pages: page models, charts.
