//! The shape of a cloud of states: norms, anisotropy, intrinsic dimension, and how well it separates prompts.

mod cloud;
mod separation;

pub use self::{
    cloud::{Geometry, anisotropy, intrinsic_dimension},
    separation::{Separation, prompt_distance},
};
