//! The portable products, compiled for AVX2 and FMA.

use super::{
    super::stored::Stored,
    GROUP, Group,
    by_input::{self, Columns},
    portable, widened,
};

/// The proof that the processor has AVX2 and FMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Detected(());

impl Detected {
    pub(super) fn new() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Detected(()))
    }
}

pub(super) fn products<S: Stored>(_: Detected, group: Group<'_>, weights: &[&[u8]], sums: &mut [f32]) {
    // SAFETY: `Detected` exists only where the instructions do.
    unsafe { compiled::<S>(group, weights, sums) }
}

pub(super) fn by_input<S: Stored>(_: Detected, group: Group<'_>, columns: Columns<'_>, sums: &mut [f32]) {
    // SAFETY: `Detected` exists only where the instructions do.
    unsafe { compiled_by_input::<S>(group, columns, sums) }
}

pub(super) fn widen_in_order<S: Stored>(_: Detected, weights: &[u8], to: &mut [f32]) {
    // SAFETY: `Detected` exists only where the instructions do.
    unsafe { compiled_widen_in_order::<S>(weights, to) }
}

pub(super) fn widen<S: Stored>(_: Detected, weights: &[u8], to: &mut [f32]) {
    // SAFETY: `Detected` exists only where the instructions do.
    unsafe { compiled_widen::<S>(weights, to) }
}

pub(super) fn of_widened(_: Detected, group: Group<'_>, weights: &[f32], sums: &mut [f32; GROUP]) {
    // SAFETY: `Detected` exists only where the instructions do.
    unsafe { compiled_of_widened(group, weights, sums) }
}

#[target_feature(enable = "avx2,fma")]
fn compiled_widen_in_order<S: Stored>(weights: &[u8], to: &mut [f32]) {
    by_input::widened::<S>(weights, to);
}

#[target_feature(enable = "avx2,fma")]
fn compiled_widen<S: Stored>(weights: &[u8], to: &mut [f32]) {
    widened::portable::widen::<S>(weights, to);
}

#[target_feature(enable = "avx2,fma")]
fn compiled_of_widened(group: Group<'_>, weights: &[f32], sums: &mut [f32; GROUP]) {
    widened::portable::each::<true>(group, weights, sums);
}

#[target_feature(enable = "avx2,fma")]
fn compiled_by_input<S: Stored>(group: Group<'_>, columns: Columns<'_>, sums: &mut [f32]) {
    by_input::portable::<S, true>(group, columns, 0, sums);
}

#[target_feature(enable = "avx2,fma")]
fn compiled<S: Stored>(group: Group<'_>, weights: &[&[u8]], sums: &mut [f32]) {
    portable::each::<S, true>(group, weights, sums);
}
