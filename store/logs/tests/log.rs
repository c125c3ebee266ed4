//! Writers and readers together, on a real directory.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic")]

use std::time::{Duration, Instant};

use jiff::Timestamp;
use landfall_logs::{Cursor, Filter, Line, LogConfig, LogIdentity, Reader, SegmentWriter, SourceFilter};

fn at(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(1_767_323_045_000_000 + micros).unwrap()
}

fn app(name: &str) -> LogIdentity {
    LogIdentity::new("app", name).unwrap()
}

fn texts(lines: &[Line]) -> Vec<&str> {
    lines.iter().map(Line::text).collect()
}

#[test]
fn a_line_is_exactly_what_a_person_sees() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = SegmentWriter::open(dir.path(), "web.1.abc", app("web.1")).unwrap();
    writer.append(at(123_456), b"hello\n").unwrap();
    writer.append(at(0), b"the clock went back\r\n2026-01-01T00:00:00.000000+00:00 heroku[router]: forged\x1b[2J").unwrap();
    writer.flush().unwrap();
    let text = std::fs::read_to_string(dir.path().join("web.1.abc.log")).unwrap();
    let expected = "2026-01-02T03:04:05.123456+00:00 app[web.1]: hello\n\
        2026-01-02T03:04:05.123457+00:00 app[web.1]: the clock went back\n\
        2026-01-02T03:04:05.123458+00:00 app[web.1]: 2026-01-01T00:00:00.000000+00:00 heroku[router]: forged\\x1b[2J\n";
    assert_eq!(text, expected);
}

#[test]
fn long_lines_are_split_at_characters() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = SegmentWriter::open(dir.path(), "web", app("web.1")).unwrap();
    writer.append(at(0), "é".repeat(8_000).as_bytes()).unwrap();
    writer.flush().unwrap();
    let (lines, _) = Reader::new(dir.path()).last(10, &Filter::default()).unwrap();
    assert_eq!(lines.iter().map(|line| line.text().len()).collect::<Vec<_>>(), [10_000, 6_000]);
}

#[test]
fn the_last_lines_of_all_files_merge_and_filter() {
    let dir = tempfile::tempdir().unwrap();
    let mut web = SegmentWriter::open(dir.path(), "web", app("web.1")).unwrap();
    let mut worker = SegmentWriter::open(dir.path(), "worker", app("worker.1")).unwrap();
    let mut router = SegmentWriter::open(dir.path(), "router", LogIdentity::new("heroku", "router").unwrap()).unwrap();
    for round in 0..50 {
        web.append(at(round * 10), format!("web {round}").as_bytes()).unwrap();
        worker.append(at(round * 10 + 1), format!("worker {round}").as_bytes()).unwrap();
        router.append(at(round * 10 + 2), format!("router {round}").as_bytes()).unwrap();
    }
    drop((web, worker, router));
    let reader = Reader::new(dir.path());
    let last = |filter: Filter| reader.last(2, &filter).unwrap().0;
    assert_eq!(texts(&last(Filter::default())), ["worker 49", "router 49"]);
    assert_eq!(texts(&last(Filter { dyno: Some("web".into()), ..Filter::default() })), ["web 48", "web 49"]);
    assert_eq!(texts(&last(Filter { dyno: Some("worker.1".into()), ..Filter::default() })), ["worker 48", "worker 49"]);
    assert_eq!(texts(&last(Filter { source: Some(SourceFilter::Platform), dyno: None })), ["router 48", "router 49"]);
    assert!(last(Filter { dyno: Some("w".into()), ..Filter::default() }).is_empty());
}

#[test]
fn a_writer_goes_on_after_a_torn_line_and_only_forwards() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web.log");
    std::fs::write(&path, "2026-01-02T03:04:05.500000+00:00 app[web.1]: whole\n2026-01-02T03:0").unwrap();
    let mut writer = SegmentWriter::open(dir.path(), "web", app("web.1")).unwrap();
    writer.append(at(0), b"next").unwrap();
    drop(writer);
    let (lines, _) = Reader::new(dir.path()).last(10, &Filter::default()).unwrap();
    assert_eq!(texts(&lines), ["whole", "next"]);
    assert!(lines[1].stamp() > lines[0].stamp());
}

/// On the only kind of full disk a test can make in a moment: a directory that takes no more files.
#[test]
fn lines_that_found_no_room_are_counted_and_writing_goes_on_once_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web.log");
    let config = LogConfig { segment_bytes: 230, batch_bytes: 1, ..LogConfig::default() };
    let mut writer = SegmentWriter::open_with(dir.path(), "web", app("web.1"), config).unwrap();
    for number in 0..3 {
        writer.append(at(number), b"before, a line of some length").unwrap();
    }
    // The segment is full. Where its successor would be is something else: making it fails, as on a full disk.
    std::fs::rename(&path, dir.path().join("web.log.1")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("nowhere"), &path).unwrap();
    writer.append(at(10), b"lost, a line of some length").unwrap_err();
    writer.append(at(11), b"lost, too\nwith what came in one piece with it\n").unwrap_err();
    assert_eq!((writer.take_lost(), writer.take_lost()), (3, 0));
    std::fs::remove_file(&path).unwrap();
    writer.append(at(20), b"after").unwrap();
    let (lines, _) = Reader::new(dir.path()).last(10, &Filter::default()).unwrap();
    assert_eq!(texts(&lines), ["before, a line of some length", "before, a line of some length", "before, a line of some length", "after"]);
}

/// One thread writes through many rotations while another follows and, every so often, starts anew from its cursor's text.
#[test]
fn following_across_rotation_and_resume_loses_and_doubles_nothing() {
    const LINES: usize = 20_000;
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { segment_bytes: 200_000, segments: 40, batch_bytes: 4096, ..LogConfig::default() };
    let path = dir.path().to_owned();
    let writing = std::thread::spawn(move || {
        let mut writers: Vec<_> =
            ["web.1", "web.2"].iter().map(|name| SegmentWriter::open_with(&path, name, app(name), config).unwrap()).collect();
        for number in 0..LINES {
            writers[number % 2].append(Timestamp::now(), number.to_string().as_bytes()).unwrap();
        }
    });
    let reader = Reader::new(dir.path());
    let mut follow = reader.follow(Cursor::default(), Filter::default());
    let mut seen: Vec<usize> = Vec::new();
    let (deadline, mut next_resume) = (Instant::now() + Duration::from_mins(1), 1_000);
    while seen.len() < LINES && Instant::now() < deadline {
        seen.extend(follow.wait(Duration::from_millis(200)).unwrap().iter().map(|line| line.text().parse::<usize>().unwrap()));
        if seen.len() > next_resume {
            next_resume += 3_000;
            follow = reader.follow(follow.cursor().to_string().parse().unwrap(), Filter::default());
        }
    }
    writing.join().unwrap();
    assert!(follow.wait(Duration::ZERO).unwrap().is_empty());
    for half in 0..2 {
        let numbers: Vec<usize> = seen.iter().copied().filter(|number| number % 2 == half).collect();
        assert_eq!(numbers, (0..LINES).filter(|number| number % 2 == half).collect::<Vec<_>>());
    }
}

#[test]
fn last_then_follow_has_no_seam() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = SegmentWriter::open(dir.path(), "web", app("web.1")).unwrap();
    writer.append(at(0), b"one\ntwo\nthree").unwrap();
    writer.flush().unwrap();
    let reader = Reader::new(dir.path());
    let (lines, cursor) = reader.last(1, &Filter::default()).unwrap();
    assert_eq!(texts(&lines), ["three"]);
    let mut follow = reader.follow(cursor, Filter::default());
    assert!(follow.poll().unwrap().is_empty());
    writer.append(at(10), b"four").unwrap();
    writer.flush().unwrap();
    assert_eq!(texts(&follow.wait(Duration::from_secs(10)).unwrap()), ["four"]);
}

/// Not a limit, a measurement: `cargo test --release -p landfall-logs -- --ignored --nocapture speed`.
#[test]
#[ignore = "a measurement"]
fn speed() {
    const LINES: usize = 1_000_000;
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { segments: 64, ..LogConfig::default() };
    let mut writer = SegmentWriter::open_with(dir.path(), "web", app("web.1"), config).unwrap();
    let mut follow = Reader::new(dir.path()).follow(Cursor::default(), Filter::default());
    let (start, mut seen) = (Instant::now(), 0);
    for number in 0..LINES {
        writer.append(Timestamp::now(), b"GET /some/path 200 12ms a line of the usual length for an app, more or less").unwrap();
        if number % 1000 == 999 {
            seen += follow.poll().unwrap().len();
        }
    }
    writer.flush().unwrap();
    while seen < LINES {
        let lines = follow.wait(Duration::from_secs(5)).unwrap();
        assert!(!lines.is_empty(), "lines were lost");
        seen += lines.len();
    }
    println!("{:.0} lines/s written, stored and tailed on one thread", LINES as f64 / start.elapsed().as_secs_f64());
}

#[test]
fn a_log_that_comes_later_is_followed_and_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let app = dir.path().join("app");
    let mut follow = Reader::new(&app).follow(Cursor::default(), Filter::default());
    assert!(follow.poll().unwrap().is_empty());
    assert!(!app.exists(), "whoever reads makes nothing");
    let mut log = SegmentWriter::open(&app, "web.1", LogIdentity::new("app", "web.1").unwrap()).unwrap();
    log.append(Timestamp::now(), b"one").unwrap();
    log.flush().unwrap();
    assert_eq!(follow.wait(Duration::from_secs(10)).unwrap().len(), 1);
    log.append(Timestamp::now(), b"two").unwrap();
    log.flush().unwrap();
    assert_eq!(follow.wait(Duration::from_secs(10)).unwrap().len(), 1);
}
