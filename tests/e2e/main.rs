//! The end-to-end stories: each plays on real parts and reads like what it promises. Run by `cargo dev e2e`.
#![cfg(test)]

mod admission;
mod ambiguous;
mod approval;
mod audit;
mod automatic;
mod bodies;
mod bound;
mod break_glass;
mod challenge;
mod clocks;
mod context;
mod crash;
mod described;
mod endings;
mod fleet;
mod heard;
mod holds;
mod hostile;
mod life;
mod link;
mod locks;
mod masking;
mod noise;
mod offline;
mod outage;
mod parsers;
mod records;
mod reload;
mod replicas;
mod restored;
mod running;
mod speed;
mod swap;
mod told;
mod uses;
