//! Marks of zeros, which stand side by side where several series have one in the same place.

use std::collections::BTreeMap;

/// Returns, for each point of each series, the number of pixels by which its mark moves to the right. Only zeros have a place here,
/// in pixels, and move. Those of several series in one place are spread around it, `step` pixels apart.
pub(super) fn side_by_side(series: &[Vec<Option<(i32, i32)>>], step: i32) -> Vec<Vec<i32>> {
    let mut together: BTreeMap<(i32, i32), Vec<usize>> = BTreeMap::new();
    for (number, points) in series.iter().enumerate() {
        for place in points.iter().flatten() {
            let here = together.entry(*place).or_default();
            if here.last() != Some(&number) {
                here.push(number);
            }
        }
    }
    let shift = |number: usize, place: &(i32, i32)| {
        let here = &together[place];
        let before = here.iter().take_while(|other| **other != number).count() as i32;
        step * before - step * (here.len() as i32 - 1) / 2
    };
    let of_series = |(number, points): (usize, &Vec<Option<(i32, i32)>>)| {
        points.iter().map(|place| place.map_or(0, |place| shift(number, &place))).collect()
    };
    series.iter().enumerate().map(of_series).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_alone_stays_in_its_place_and_others_stand_around_theirs() {
        let (left, right) = (Some((10, 5)), Some((90, 5)));
        let series = [vec![left, None], vec![left, right], vec![left]];
        assert_eq!(side_by_side(&series, 16), [vec![-16, 0], vec![0, 0], vec![16]]);
        assert_eq!(side_by_side(&[vec![left], vec![left]], 16), [[-8], [8]]);
        assert_eq!(side_by_side(&[vec![left, left]], 16), [[0, 0]]);
    }
}
