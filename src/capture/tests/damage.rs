//! What is cut, overwritten, removed or claimed wrongly, and the frames that must be found all the same.

use proptest::prelude::*;

use super::*;

const N: u32 = 200;

/// Numbers of the packets that were found, as written into their bytes.
fn found(outcome: &Outcome) -> Vec<u32> {
    outcome.frames.iter().map(|f| u32::from(f.bytes[0])).collect()
}

/// Byte offset of packet `n` in the captures made here, which must be less than 256.
fn offset_of(file: &[u8], n: u8) -> usize {
    file.windows(60).position(|w| w.iter().all(|b| *b == n)).unwrap()
}

#[test]
fn a_file_cut_anywhere_gives_every_whole_packet_and_says_where_it_ends() {
    for file in [pcap_of(3), pcapng_of(3)] {
        let whole = drain(source(&file).unwrap()).unwrap();
        assert_eq!(whole.frames.len(), 3);
        for len in 100..file.len() {
            let outcome = drain(source(&file[..len]).unwrap()).unwrap();
            assert_eq!(outcome.frames[..], whole.frames[..outcome.frames.len()]);
            assert!(outcome.frames.len() < 3);
            for shortfall in &outcome.summary.shortfalls {
                assert!(shortfall.text.contains("cut short"), "{shortfall:?} at {len}");
                assert_eq!(shortfall.after_frame.map_or(0, |f| f.number()), outcome.frames.len() as u64);
                assert!(shortfall.offset.unwrap() <= len as u64);
            }
            // Only a cut between two packets goes unnoticed.
            assert!(outcome.summary.shortfalls.len() <= 1);
        }
    }
}

#[test]
fn garbage_in_the_middle_costs_only_the_packets_under_it() {
    for mut file in [pcap_of(N), pcapng_of(N)] {
        let (from, to) = (offset_of(&file, 50), offset_of(&file, 60));
        for (i, byte) in file[from + 10..to - 40].iter_mut().enumerate() {
            *byte = ((i * i * 31) >> 3) as u8 | 0x80;
        }
        let outcome = read(&file);
        let found = found(&outcome);
        assert!(found.iter().filter(|n| (51..60).contains(*n)).count() == 0);
        assert_eq!(
            found.iter().filter(|n| **n < 50 || (60..N).contains(*n)).count() as u32,
            N - 10
        );
        let [shortfall] = &outcome.summary.shortfalls[..] else {
            panic!("{:?}", outcome.summary.shortfalls)
        };
        assert!(shortfall.text.contains("damaged bytes were skipped"), "{}", shortfall.text);
        let offset = shortfall.offset.unwrap() as usize;
        // The packet of a pcapng block whose end is damaged goes with it.
        assert!((from - 28..to).contains(&offset));
    }
}

#[test]
fn bytes_removed_or_inserted_are_survived() {
    for file in [pcap_of(N), pcapng_of(N)] {
        let at = offset_of(&file, 100) + 30;
        let mut removed = file.clone();
        removed.drain(at..at + 1001);
        let mut inserted = file.clone();
        inserted.splice(at..at, vec![0u8; 70_001]);
        for (file, lost) in [(removed, 15), (inserted, 2)] {
            let outcome = read(&file);
            assert!(outcome.frames.len() as u32 + lost >= N, "{} frames", outcome.frames.len());
            assert!(!outcome.summary.shortfalls.is_empty());
            assert_eq!(found(&outcome).last(), Some(&(N - 1)));
        }
    }
}

#[test]
fn a_hole_of_zeros_is_not_a_million_empty_packets() {
    let mut file = pcap_of(N);
    let end = file.len();
    file.resize(end + 2_000_000, 0);
    let outcome = read(&file);
    assert_eq!(outcome.frames.len() as u32, N);
    assert_eq!(
        outcome.shortfalls(),
        ["the last 2000000 bytes are damaged and could not be read"]
    );
    assert_eq!(outcome.summary.shortfalls[0].offset, Some(end as u64));
    assert_eq!(outcome.summary.shortfalls[0].after_frame, Some(FrameNo::new(u64::from(N))));

    let mut file = pcapng_of(N);
    file.resize(file.len() + 2_000_000, 0);
    assert_eq!(read(&file).frames.len() as u32, N);
}

#[test]
fn an_impossible_length_does_not_swallow_the_packets_after_it() {
    for (file, back) in [(pcap_of(N), 8), (pcapng_of(N), 24)] {
        let at = offset_of(&file, 77) - back;
        for length in [0xffff_ffffu32, 0x7fff_fffc, 0x0010_0000, 100_000, 4] {
            let mut file = file.clone();
            file[at..at + 4].copy_from_slice(&length.to_le_bytes());
            let outcome = read(&file);
            let found = found(&outcome);
            assert!(found.len() as u32 >= N - 2, "length {length}: {} frames", found.len());
            assert_eq!(found.last(), Some(&(N - 1)), "length {length}");
            assert!(!outcome.summary.shortfalls.is_empty());
        }
    }
}

#[test]
fn a_wrong_second_length_of_a_block_costs_no_packet() {
    let mut file = pcapng_of(N);
    let at = offset_of(&file, 33) + 60 + 33;
    let at = at.next_multiple_of(4);
    file[at] ^= 0x10;
    let outcome = read(&file);
    assert_eq!(outcome.frames.len() as u32, N);
    assert_eq!(
        outcome.shortfalls(),
        ["the two lengths of a block differ; the first was believed"]
    );
}

#[test]
fn damaged_compression_gives_what_came_before() {
    let file = pcap_of(N);
    let mut packed = Vec::new();
    let mut encoder = flate2::read::GzEncoder::new(&file[..], flate2::Compression::none());
    encoder.read_to_end(&mut packed).unwrap();
    let outcome = read(&packed[..packed.len() / 2]);
    assert!(outcome.frames.len() > 50 && outcome.frames.len() < 150);
    let [text] = outcome.shortfalls()[..] else {
        panic!("one shortfall")
    };
    assert!(text.starts_with("the compressed data cannot be read further"), "{text}");
    assert_eq!(outcome.summary.format, "pcap, gzip");
}

/// Reads anything; only that it ends, and that frames are numbered upwards, is asked.
fn survives(file: &[u8]) -> Result<(), TestCaseError> {
    let Ok(source) = source(file) else { return Ok(()) };
    let outcome = drain(source).map_err(|e| TestCaseError::fail(e.to_string()))?;
    prop_assert!(outcome.frames.windows(2).all(|pair| pair[0].no < pair[1].no));
    prop_assert!(outcome.summary.packets == outcome.frames.len() as u64);
    // A record takes at least the bytes of its header.
    prop_assert!(outcome.frames.len() <= file.len() / 16);
    Ok(())
}

#[test]
fn a_length_that_leads_to_another_packet_by_chance_loses_one_packet() {
    // A flipped bit makes a length of a multiple of the packets' own: what it leads to is a packet, far behind.
    for (ng, at, bit) in [(true, 7209, 3), (true, 2113, 6), (true, 3793, 6), (false, 1188, 4)] {
        let mut file = if ng { pcapng_of(N) } else { pcap_of(N) };
        file[at] ^= 1 << bit;
        let outcome = drain(source(&file).unwrap()).unwrap();
        assert_eq!(outcome.frames.len() as u32, N - 1, "{at}");
        assert_eq!(outcome.summary.shortfalls.len(), 1);
    }
}

#[test]
fn blocks_that_all_claim_a_long_stretch_cost_no_more_than_reading_it() {
    // Searched anew for each of them, the stretch would be read tens of thousands of times.
    let mut file = pcapng::interface(pcapng::section(Bytes::new(ByteOrder::Little)), 1, 0);
    const CLAIMS: u32 = 30_000;
    for _ in 0..CLAIMS {
        file = file.u32(6).u32(200_016).u32(7).u32(9);
        file = pcapng::enhanced(file, 0, u64::from(BEGIN) * 1_000_000, &[1], |options| options);
    }
    let outcome = drain(source(&file.bytes).unwrap()).unwrap();
    assert!(outcome.frames.len() as u32 >= CLAIMS - 10, "{}", outcome.frames.len());
}

proptest! {
    #[test]
    fn any_prefix_with_any_bytes_changed(
        ng in any::<bool>(),
        cut in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let file = if ng { pcapng_of(12) } else { pcap_of(12) };
        let mut file = file[..=cut.index(file.len())].to_vec();
        for (at, value) in changes {
            let at = at.index(file.len());
            file[at] = value;
        }
        survives(&file)?;
    }

    #[test]
    fn one_bit_flipped_loses_three_packets_at_most(ng in any::<bool>(), at in any::<prop::sample::Index>(), bit in 0..8u32) {
        let mut file = if ng { pcapng_of(N) } else { pcap_of(N) };
        // Behind the headers of file, section and interface, which nothing can replace.
        let at = 60 + at.index(file.len() - 60);
        file[at] ^= 1 << bit;
        survives(&file)?;
        let outcome = drain(source(&file).unwrap()).unwrap();
        prop_assert!(outcome.frames.len() as u32 + 3 >= N, "{} of {N} at {at}", outcome.frames.len());
    }

    #[test]
    fn any_bytes_behind_a_header(ng in any::<bool>(), bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let mut file = if ng { pcapng_of(1) } else { pcap_of(1) };
        file.extend(bytes);
        survives(&file)?;
    }

    #[test]
    fn small_words_behind_a_header(ng in any::<bool>(), words in prop::collection::vec(0..20u32, 0..1000)) {
        let mut file = if ng { pcapng_of(1) } else { pcap_of(1) };
        file.extend(words.iter().flat_map(|w| w.to_le_bytes()));
        survives(&file)?;
    }
}
