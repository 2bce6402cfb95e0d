//! Marks that later series would hide.

use std::collections::HashSet;

/// Cells that hold the marks of one series.
#[derive(Debug)]
struct Cells {
    size: i32,
    cells: HashSet<(i32, i32)>,
}

impl Cells {
    fn of(marks: &[(i32, i32)], size: i32) -> Self {
        Cells { size, cells: marks.iter().map(|&mark| cell(mark, size)).collect() }
    }

    /// Returns whether a mark of the series lies within about the size of a cell of `(x, y)`.
    fn near(&self, mark: (i32, i32)) -> bool {
        let (x, y) = cell(mark, self.size);
        (-1..=1).any(|right| (-1..=1).any(|down| self.cells.contains(&(x + right, y + down))))
    }
}

fn cell((x, y): (i32, i32), size: i32) -> (i32, i32) {
    (x.div_euclid(size), y.div_euclid(size))
}

/// Returns, for each mark of each series, the number of later series that have a mark in its place or within `near` of it. The places are
/// in pixels.
pub(super) fn covered(series: &[Vec<(i32, i32)>], near: i32) -> Vec<Vec<i32>> {
    let cells: Vec<Cells> = series.iter().map(|marks| Cells::of(marks, near)).collect();
    let of_series = |(number, marks): (usize, &Vec<(i32, i32)>)| {
        let later = &cells[number + 1..];
        let count = |&mark: &(i32, i32)| later.iter().filter(|cells| cells.near(mark)).count() as i32;
        marks.iter().map(count).collect()
    };
    series.iter().enumerate().map(of_series).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_marks_under_later_ones_count_as_covered() {
        let series = [vec![(10, 10), (90, 10)], vec![(11, 9)], vec![(10, 10), (50, 50)]];
        assert_eq!(covered(&series, 4), [vec![2, 0], vec![1], vec![0, 0]]);
        assert_eq!(covered(&[vec![(10, 10)], vec![(10, 16)]], 1), [vec![0], vec![0]]);
        assert_eq!(covered(&[], 4), Vec::<Vec<i32>>::new());
    }
}
