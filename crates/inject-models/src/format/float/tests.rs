use super::*;

#[test]
fn text_and_json_have_the_same_spelling() {
    for &format in FloatFormat::all() {
        assert_eq!(format.to_string().parse::<FloatFormat>().unwrap(), format);
        assert_eq!(serde_json::to_value(format).unwrap(), format.to_string());
        assert_eq!(FloatFormat::of_safetensors(format.safetensors()), Some(format));
    }
    assert_eq!(FloatFormat::of_safetensors(Dtype::I64), None);
}

#[test]
fn no_half_lies_further_from_its_neighbour_than_two_rounding_errors() {
    for bits in 0..f16::INFINITY.to_bits() - 1 {
        let (value, next) = (f16::from_bits(bits).to_f64(), f16::from_bits(bits + 1).to_f64());
        assert!((next - value) / 2.0 <= FloatFormat::F16.rounding_error(next), "{value}");
    }
    for bits in 0..bf16::INFINITY.to_bits() - 1 {
        let (value, next) = (bf16::from_bits(bits).to_f64(), bf16::from_bits(bits + 1).to_f64());
        assert!((next - value) / 2.0 <= FloatFormat::Bf16.rounding_error(next), "{value}");
    }
}

#[test]
fn the_rounding_error_of_wider_formats_is_half_a_unit_in_the_last_place() {
    assert_eq!(FloatFormat::F32.rounding_error(1.0), f64::from(f32::EPSILON) / 2.0);
    assert_eq!(FloatFormat::F64.rounding_error(-1.0), f64::EPSILON / 2.0);
    assert!(FloatFormat::F64.rounding_error(0.0) > 0.0);
}

#[test]
fn numbers_are_little_endian_and_read_back() {
    for (format, expected) in [
        (FloatFormat::F16, vec![0x00, 0x3c, 0x00, 0xc1]),
        (FloatFormat::Bf16, vec![0x80, 0x3f, 0x20, 0xc0]),
        (FloatFormat::F32, [1.0_f32.to_le_bytes(), (-2.5_f32).to_le_bytes()].concat()),
        (FloatFormat::F64, [1.0_f64.to_le_bytes(), (-2.5_f64).to_le_bytes()].concat()),
    ] {
        let (mut bytes, mut back) = (Vec::new(), [0.0; 2]);
        format.encode(&[1.0, -2.5], &mut bytes).unwrap();
        assert_eq!(bytes, expected, "{format}");
        format.decode(&bytes, &mut back);
        assert_eq!(back, [1.0, -2.5], "{format}");
    }
}

#[test]
fn a_number_that_is_not_finite_is_refused_in_every_format() {
    for format in FloatFormat::all() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let refused = format.encode(&[0.0, 1.0, value], &mut Vec::new()).unwrap_err();
            assert_eq!((refused.index, refused.value.to_bits()), (2, value.to_bits()));
        }
    }
}

#[test]
fn f16_refuses_exactly_what_rounds_to_infinity() {
    // 65520 lies midway between the largest f16, 65504, and the next step, 65536; the tie goes up.
    let below = f32::from_bits(65520_f32.to_bits() - 1);
    let mut bytes = Vec::new();
    FloatFormat::F16.encode(&[below, -below], &mut bytes).unwrap();
    assert_eq!(bytes, [f16::MAX.to_le_bytes(), f16::MIN.to_le_bytes()].concat());
    let refused = FloatFormat::F16.encode(&[0.0, 65520.0], &mut bytes).unwrap_err();
    assert_eq!(refused, Unrepresentable { index: 1, value: 65520.0 });
}

#[test]
fn bf16_refuses_what_rounds_to_infinity() {
    let refused = FloatFormat::Bf16.encode(&[f32::MIN], &mut Vec::new()).unwrap_err();
    assert_eq!(refused, Unrepresentable { index: 0, value: f32::MIN });
}

/// A number beyond a tie by less than the last place of a single, or of half a double.
#[test]
fn numbers_beside_a_tie_are_rounded_to_the_nearest() {
    for (format, place) in [(FloatFormat::F16, 2f64.powi(-10)), (FloatFormat::Bf16, 2f64.powi(-7))] {
        for little in [2f64.powi(-21), 2f64.powi(-23), 2f64.powi(-30), 2f64.powi(-50)] {
            for sign in [1.0, -1.0] {
                let tie = 1.0 + place / 2.0;
                assert_eq!(format.round(sign * tie), sign, "{format}");
                assert_eq!(format.round(sign * (tie + little)), sign * (1.0 + place), "{format}: {little}");
                assert_eq!(format.round(sign * (tie - little)), sign, "{format}: {little}");
            }
        }
        assert_eq!(format.round(2f64.powi(-200)), 0.0);
        assert_eq!(format.round(1e300), f64::INFINITY);
    }
}
