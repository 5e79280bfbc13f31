fn main() {
    for path in std::env::args().skip(1) {
        let mut examiner = rdpwhy::examine::Examiner::new(rdpwhy::examine::Options::default());
        let mut source = rdpwhy::capture::open(std::path::Path::new(&path), Default::default()).unwrap();
        while let Some(event) = source.next().unwrap() {
            if let rdpwhy::capture::Event::Frame(frame) = event {
                examiner.push(&frame)
            }
        }
        examiner.end_source(source.summary(), None);
        let report = examiner.finish();
        println!(
            "{path}\n  OVERALL {} {:?} {}",
            report.overall.cause.slug, report.overall.confidence, report.overall.summary
        );
        for c in &report.connections {
            println!(
                "  #{} att {} {} -> {:?} phase {} inf {} by {} via {} : {} ({}) {}",
                c.id,
                c.attempt,
                c.client,
                c.server,
                c.phase,
                c.phase_inferred,
                c.ended_by,
                c.mechanism,
                c.verdict.cause.slug,
                c.verdict.confidence,
                c.verdict.summary
            );
            for e in &c.verdict.evidence {
                println!("       [{}] {}", e.frame, e.text);
            }
        }
    }
}
