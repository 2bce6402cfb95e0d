use burn::tensor::TensorData;

use super::*;

/// Every family's way to a head: its own, or the embedding.
const FAMILIES: [&str; 4] = ["gpt2", "llama", "gemma3", "gemma2"];

fn host(tensor: Tensor<2>) -> Vec<Vec<f64>> {
    let [_, width] = tensor.dims();
    read(tensor).unwrap().chunks(width).map(<[f64]>::to_vec).collect()
}

fn product(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn the_expectation_reports_again_and_again_and_only_when_it_is_computed() {
    let decoder = inject_testing::models::random("llama", 31, &burn::tensor::Device::flex());
    let vocabulary = Vocabulary::new(&decoder, Arithmetic::F32OnDevice);
    let mut reports = Vec::new();
    for _ in 0..2 {
        vocabulary.expected_anywhere(&mut |progress| reports.push(progress.done)).unwrap();
    }
    assert_eq!(reports, [8, 16, 24, 32, 40, 48, 56, 64]);
}

#[test]
fn logits_and_directions_are_those_of_plain_sums_but_for_digits() {
    for (device, name) in
        inject_testing::compiled().into_iter().flat_map(|device| FAMILIES.map(|name| (device.clone(), name)))
    {
        let model = inject_testing::models::model(name, &device);
        let decoder = &model.decoder;
        let d_model = decoder.config().d_model;
        let embedding = host(decoder.token_embedding());
        let head = host(decoder.own_head().unwrap_or_else(|| decoder.token_embedding()));
        let mean: Vec<f64> = (0..d_model)
            .map(|i| embedding.iter().map(|row| row[i]).sum::<f64>() / embedding.len() as f64)
            .collect();
        let from_mean = |row: &[f64]| -> Vec<f64> { row.iter().zip(&mean).map(|(a, b)| a - b).collect() };
        let cosine = |row: &[f64], point: &[f64]| {
            let (row, point) = (from_mean(row), from_mean(point));
            product(&row, &point) / product(&row, &row).sqrt()
        };
        let points: Vec<Vec<f64>> = (0..11)
            .map(|p| (0..d_model).map(|i| ((7 * p + 3 * i) as f64).sin() + mean[i]).collect())
            .collect();
        let tensor = |points: &[Vec<f64>]| {
            let values: Vec<f32> = points.concat().iter().map(|&value| value as f32).collect();
            Tensor::<2>::from_data(TensorData::new(values, [points.len(), d_model]), &device)
        };
        for (arithmetic, digits) in
            [(Arithmetic::F32OnDevice, 1e-5), (Arithmetic::I16OnProcessor, 1.0 / 254.0 + 1e-3)]
        {
            let vocabulary = Vocabulary::new(decoder, arithmetic);
            // A row's coordinates are off by a share of its largest, so by one of its length, each times one of the point's.
            let off = |row: &[f64], point: &[f64]| {
                digits * product(row, row).sqrt() * product(point, point).sqrt() * (d_model as f64).sqrt()
            };
            for point in &points {
                let logits = vocabulary.logits(tensor(std::slice::from_ref(point))).unwrap();
                let nearness = vocabulary.nearness(tensor(std::slice::from_ref(point))).unwrap();
                assert_eq!((logits.len(), nearness.len()), (head.len(), head.len()));
                for (id, (logit, near)) in logits.iter().zip(nearness).enumerate() {
                    // A cap brings two numbers no farther apart than they are.
                    let cap = |logit: f64| match decoder.config().logit_cap {
                        None => logit,
                        Some(cap) => cap * (logit / cap).tanh(),
                    };
                    let expected = cap(product(&head[id], point));
                    assert!(
                        (f64::from(*logit) - expected).abs() <= off(&head[id], point),
                        "{name}, {arithmetic:?}, token {id}: {logit}, expected {expected}"
                    );
                    let row = from_mean(&embedding[id]);
                    let within = off(&embedding[id], &from_mean(point)) / product(&row, &row).sqrt();
                    let expected = cosine(&embedding[id], point);
                    assert!(
                        (f64::from(near) - expected).abs() <= within,
                        "{name}, {arithmetic:?}, token {id}: {near}, expected {expected} within {within}"
                    );
                }
            }
            let nearest = vocabulary.nearest(tensor(&points)).unwrap();
            for (point, id) in points.iter().zip(nearest) {
                let nearness = vocabulary.nearness(tensor(std::slice::from_ref(point))).unwrap();
                let largest = nearness.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                assert_eq!(nearness[id as usize], largest, "{name}, {arithmetic:?}");
            }
        }
    }
}
