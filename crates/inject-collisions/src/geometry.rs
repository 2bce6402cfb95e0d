//! The geometry of a set of states: norms, anisotropy, intrinsic dimension, and the separation of prompts.

mod cloud;
mod separation;

pub use self::{
    cloud::{Geometry, anisotropy, intrinsic_dimension},
    separation::{Separation, prompt_distance},
};
