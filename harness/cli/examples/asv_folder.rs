//! Writes a made-up folder of results as airspeed velocity has them: `asv_folder DIR [FILES]`.

use std::path::Path;

use assay::import::synthetic::AsvFolder;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (folder, rest) = words.split_first().expect("the folder to write");
    let mut recipe = AsvFolder::default();
    if let Some(files) = rest.first() {
        recipe.files = files.parse().expect("a number of files");
    }
    let bytes = recipe.write(Path::new(folder)).expect("is written");
    println!("{} files, {bytes} bytes", recipe.files);
}
