//! The prompts and the rows: 7 prompts with 16 tokens, all positions stored.

use super::*;

#[test]
fn offsets_do_not_begin_at_0() {
    let error = with_data("prompts.safetensors", 0, &1i64.to_le_bytes());
    assert_error!(error, StoreError::Value { tensor: "offsets", index: 0, found: 1, .. });
}

#[test]
fn offsets_do_not_rise() {
    for found in [1i64, 0, -5] {
        let error = with_data("prompts.safetensors", 2 * 8, &found.to_le_bytes());
        assert_error!(error, StoreError::Value { tensor: "offsets", index: 2, found: at, .. } if *at == found);
    }
}

#[test]
fn offsets_do_not_end_at_the_number_of_tokens() {
    let error = with_data("prompts.safetensors", 7 * 8, &17i64.to_le_bytes());
    assert_error!(error, StoreError::Value { tensor: "offsets", index: 7, found: 17, .. });
}

#[test]
fn a_token_id_of_a_prompt_is_negative() {
    let error = with_data("prompts.safetensors", 8 * 8 + 3 * 4, &(-1i32).to_le_bytes());
    assert_error!(error, StoreError::Value { tensor: "token_ids", index: 3, found: -1, .. });
}

#[test]
fn the_prompts_are_others() {
    let error = with_data("prompts.safetensors", 8 * 8, &77i32.to_le_bytes());
    assert_error!(error, StoreError::Field { field, .. } if field == "prompts_sha256");
}

// The rows: prompt, position, token_id, 16 of each.

#[test]
fn a_row_is_of_another_prompt() {
    for prompt in [3i32, 7, -1] {
        let error = with_data("rows.safetensors", 5 * 4, &prompt.to_le_bytes());
        assert_error!(error, StoreError::Value { tensor: "prompt", index: 5, .. });
    }
}

#[test]
fn a_row_is_of_another_position() {
    for position in [9i32, -1] {
        let error = with_data("rows.safetensors", (16 + 5) * 4, &position.to_le_bytes());
        assert_error!(error, StoreError::Value { tensor: "position", index: 5, .. });
    }
}

#[test]
fn a_row_is_of_another_token() {
    for token in [77i32, -1] {
        let error = with_data("rows.safetensors", (32 + 5) * 4, &token.to_le_bytes());
        assert_error!(error, StoreError::Value { tensor: "token_id", index: 5, .. });
    }
}
