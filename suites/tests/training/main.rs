//! Training, from outside: what holds for whole models: gradients, bits, learning, and what is said where something is wrong.

mod autoencoder;
mod bad_input;
mod base;
mod batches;
mod cases;
mod checkpoints;
mod convnet;
mod files;
mod gradients;
mod language;
mod perceptron;
mod ranks;
mod stored;
mod tokens;
