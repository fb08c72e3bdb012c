//! The plot: received against offered, a line for each way.

use std::fmt::Display;

use anyhow::anyhow;
use plotters::prelude::*;

use super::way::Point;

/// The size of the picture.
const SIZE: (u32, u32) = (900, 600);

/// Colours that are told apart by those who see fewer, too.
const COLOURS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
];

/// Draws it as SVG: names, and their points in any order. In thousands of datagrams per second.
pub(crate) fn svg(title: &str, lines: &[(String, Vec<Point>)]) -> anyhow::Result<String> {
    let mut text = String::new();
    draw(&mut text, title, lines).map_err(|why| anyhow!("the plot: {why}"))?;
    Ok(text)
}

fn draw(text: &mut String, title: &str, lines: &[(String, Vec<Point>)]) -> Result<(), String> {
    fn told(error: impl Display) -> String {
        error.to_string()
    }
    let most = |of: fn(&Point) -> f64| {
        let all = lines.iter().flat_map(|(_, points)| points).map(of);
        all.fold(0.0_f64, f64::max).max(1000.0) / 1000.0 * 1.05
    };
    let (right, top) = (most(|point| point.offered), most(|point| point.received));
    let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
    area.fill(&WHITE).map_err(told)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(0.0..right, 0.0..top)
        .map_err(told)?;
    chart
        .configure_mesh()
        .x_desc("offered, thousands of datagrams/s")
        .y_desc("received, thousands of datagrams/s")
        .light_line_style(WHITE)
        .draw()
        .map_err(told)?;
    let end = right.min(top);
    chart.draw_series(LineSeries::new([(0.0, 0.0), (end, end)], BLACK.mix(0.3))).map_err(told)?;
    for ((name, points), colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let mut points: Vec<(f64, f64)> =
            points.iter().map(|point| (point.offered / 1000.0, point.received / 1000.0)).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))
            .map_err(told)?
            .label(name.as_str())
            .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        chart
            .draw_series(points.into_iter().map(|point| Circle::new(point, 3, colour.filled())))
            .map_err(told)?;
    }
    if !lines.is_empty() {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()
            .map_err(told)?;
    }
    area.present().map_err(told)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Tags that open and close again, in their order; the first line says what it is.
    fn is_well_formed(svg: &str) -> bool {
        let mut open = Vec::new();
        for tag in svg.split('<').skip(1) {
            let (tag, rest) = tag.split_once('>').unwrap();
            assert!(!rest.contains('>') && !rest.contains('&'), "{rest}");
            let name = tag.trim_start_matches('/').split([' ', '\n', '/']).next().unwrap().to_owned();
            match tag {
                tag if tag.starts_with('/') => {
                    if open.pop() != Some(name) {
                        return false;
                    }
                }
                tag if tag.ends_with('/') => assert!(tag.matches('"').count().is_multiple_of(2), "{tag}"),
                _ => open.push(name),
            }
        }
        open.is_empty() && svg.starts_with("<svg ")
    }

    #[test]
    fn a_line_with_its_points_and_name_for_each_way() {
        let line = |many: usize| {
            (1..=many).rev().map(|n| Point { offered: n as f64 * 1e5, received: n as f64 * 9e4 }).collect()
        };
        let lines = [("UDP".to_owned(), line(5)), ("AF_XDP".to_owned(), line(7))];
        let svg = svg("received against offered", &lines).unwrap();
        assert!(is_well_formed(&svg), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 12);
        for text in ["UDP", "AF_XDP", "received against offered", "offered, thousands of datagrams/s"] {
            assert!(svg.contains(text), "{text}");
        }
    }

    #[test]
    fn without_points_there_are_axes() {
        assert!(is_well_formed(&svg("nothing", &[]).unwrap()));
        assert!(is_well_formed(&svg("nothing", &[("UDP".to_owned(), Vec::new())]).unwrap()));
        assert!(!is_well_formed("<svg a=\"\"><g></svg></g>"));
    }
}
