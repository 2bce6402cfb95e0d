//! Marks that later series would hide.

use std::collections::HashSet;

use super::draw::MARK;

/// Cells of the size of a mark that hold the marks of one series.
#[derive(Debug, Default)]
struct Cells(HashSet<(i32, i32)>);

impl Cells {
    fn of(marks: &[(i32, i32)]) -> Self {
        Cells(marks.iter().map(|&mark| cell(mark)).collect())
    }

    /// Returns whether a mark of the series lies within about one mark of `(x, y)`.
    fn near(&self, mark: (i32, i32)) -> bool {
        let (x, y) = cell(mark);
        (-1..=1).any(|right| (-1..=1).any(|down| self.0.contains(&(x + right, y + down))))
    }
}

fn cell((x, y): (i32, i32)) -> (i32, i32) {
    (x.div_euclid(MARK), y.div_euclid(MARK))
}

/// Returns, for each mark of each series, the number of later series that have a mark in its place. The places are in pixels.
pub(super) fn covered(series: &[Vec<(i32, i32)>]) -> Vec<Vec<i32>> {
    let cells: Vec<Cells> = series.iter().map(|marks| Cells::of(marks)).collect();
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
        assert_eq!(covered(&series), [vec![2, 0], vec![1], vec![0, 0]]);
        assert_eq!(covered(&[]), Vec::<Vec<i32>>::new());
    }
}
