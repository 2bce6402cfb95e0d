//! The exact prompt back from hidden states, with a verdict for every position.
