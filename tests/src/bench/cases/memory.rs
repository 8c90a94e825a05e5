//! What the memory of this machine costs, by how much of it is in use: the cause of times that grow faster than an account.

use super::Case;
use crate::bench::Setup;
use crate::bench::contest::Row;
use crate::bench::machine::fits;
use crate::bench::stopwatch::Taken;

const MIB: [usize; 3] = [256, 1024, 8192];
const PAGE_BYTES: usize = 4096;
const READS: usize = 4_000_000;

pub(super) fn cases() -> Vec<Case> {
    vec![Case {
        name: "memory",
        about: "new pages, and reads at random, within 0.25, 1 and 8 GiB of memory",
        needs: &[],
        run: memory,
    }]
}

fn memory(setup: &Setup) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for mib in MIB {
        if !fits(&setup.memory, 1 + mib as u64 / 1024, &format!("{mib} MiB")) {
            continue;
        }
        let bytes = setup.scaled(mib << 20);
        let mut contest = setup.contest(&format!("memory {mib} MiB"));
        contest.enter("new pages", || {
            Taken::timed(|| {
                std::hint::black_box(touched(bytes));
                Ok(())
            })
        });
        contest.enter("reads at random", || {
            let memory = touched(bytes);
            Taken::timed(|| {
                std::hint::black_box(read_at_random(&memory));
                Ok(())
            })
        });
        let series = contest.run()?;
        setup.keep(&series)?;
        let pages = series.row("new pages");
        let per_gb = pages.wall_s / (bytes as f64 / 1e9);
        rows.push(pages.note(format!("{per_gb:.2} s a GB")));
        let reads = series.row("reads at random");
        let each_ns = reads.wall_s / READS as f64 * 1e9;
        rows.push(reads.note(format!("{each_ns:.0} ns each")));
    }
    Ok(rows)
}

/// Memory of which each page was written to once.
fn touched(bytes: usize) -> Vec<u8> {
    let mut memory = vec![0; bytes];
    memory
        .iter_mut()
        .step_by(PAGE_BYTES)
        .for_each(|byte| *byte = 1);
    memory
}

/// Each place depends on what was read before, so that no two reads overlap.
fn read_at_random(memory: &[u8]) -> usize {
    let (mut state, mut place) = (1_u64, 0);
    for _ in 0..READS {
        // Knuth's generator of MMIX.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407 + u64::from(memory[place]));
        place = (state >> 16) as usize % memory.len();
    }
    place
}
