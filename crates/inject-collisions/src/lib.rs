//! Certified distances between hidden states: nearest, runner-up, margin.
