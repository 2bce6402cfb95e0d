//! The prior in the file of a lens.

use super::*;

/// Gives a lens file a prior that changes no score.
fn with_prior(contents: &mut Contents, d_model: usize) {
    for (name, rows) in [("prior.map", d_model), ("prior.offset", 1)] {
        let zeros = vec![0; 4 * rows * d_model];
        contents.tensors.insert(name.to_owned(), (Dtype::F32, vec![rows, d_model], zeros));
    }
    contents.metadata.insert("prior.weight".to_owned(), "0.5".to_owned());
}

#[test]
fn a_damaged_prior_of_a_lens_is_refused() {
    let device = inject_testing::any_device();
    let written = Written::new(&device);
    let d_model = written.load().unwrap().info().d_model;
    let changed = |change: &dyn Fn(&mut Contents)| {
        written.changed(|contents| {
            with_prior(contents, d_model);
            change(contents);
        })
    };
    changed(&|_| ()).unwrap();
    let tensor = |name: &str, change: &dyn Fn(&mut Stored)| {
        changed(&|contents| {
            change(contents.tensors.get_mut(name).unwrap());
        })
    };
    for name in ["prior.map", "prior.offset"] {
        let missing = changed(&|contents| drop(contents.tensors.remove(name)));
        written.assert_malformed(missing, &format!("{name} is missing"));
        let short = tensor(name, &|(_, shape, bytes)| {
            shape[0] -= 1;
            bytes.truncate(4 * shape[0] * shape[1]);
        });
        written.assert_malformed(short, &format!("{name} is F32"));
        let narrow = tensor(name, &|(_, shape, bytes)| {
            shape[1] -= 1;
            bytes.truncate(4 * shape[0] * shape[1]);
        });
        written.assert_malformed(narrow, &format!("{name} has {} columns, expected {d_model}", d_model - 1));
        let other_type = tensor(name, &|(dtype, _, bytes)| {
            *dtype = Dtype::F16;
            bytes.truncate(bytes.len() / 2);
        });
        written.assert_malformed(other_type, &format!("{name} is F16"));
        for (value, text) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
            let not_a_number =
                tensor(name, &|(_, _, bytes)| bytes[4..8].copy_from_slice(&value.to_le_bytes()));
            written.assert_malformed(not_a_number, &format!("{name} holds {text}"));
        }
    }
    let no_weight = changed(&|contents| drop(contents.metadata.remove("prior.weight")));
    written.assert_malformed(no_weight, "prior.weight is missing");
    for weight in ["heavy", "", "0,5", "0.5 ", "NaN", "inf", "-1", "0"] {
        let refused =
            changed(&|contents| drop(contents.metadata.insert("prior.weight".into(), weight.into())));
        written.assert_malformed(refused, &format!("prior.weight is {weight}"));
    }
    for (name, found) in
        [("held_out_top_1", 1.5), ("held_out_top_16", -0.1), ("sharpness", 0.0), ("sharpness", -2.0)]
    {
        let refused = changed(&|contents| {
            let mut about: serde_json::Value = serde_json::from_str(&contents.metadata["about"]).unwrap();
            about[name] = found.into();
            contents.metadata.insert("about".to_owned(), about.to_string());
        });
        written.assert_malformed(refused, &format!("{name} is {found}"));
    }
}
