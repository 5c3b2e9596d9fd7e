//! Works inside a Pod, and prints how many microseconds that took. `work KIND` does one kind.
//!
//! The benchmark compiles it by itself, without a crate.

use std::{
    env,
    fs::{self, File},
    hint,
    io::{self, Read, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, ExitCode},
    thread,
    time::{Duration, Instant},
};

fn main() -> ExitCode {
    let kind = env::args().nth(1).unwrap_or_default();
    let work = match kind.as_str() {
        "nothing" => return ExitCode::SUCCESS,
        "wait" => loop {
            thread::sleep(Duration::from_secs(3600));
        },
        "compute" => compute,
        "call" => call,
        "touch" => touch,
        "build" => build,
        "copy" => copy,
        "spawn" => spawn,
        _ => {
            eprintln!("there is no work {kind:?}");
            return ExitCode::from(2);
        }
    };
    let begun = Instant::now();
    if let Err(error) = work() {
        eprintln!("{kind}: {error}");
        return ExitCode::FAILURE;
    }
    println!("{}", begun.elapsed().as_micros());
    ExitCode::SUCCESS
}

/// A hundred million steps of a generator of numbers.
fn compute() -> io::Result<()> {
    let mut state = 88_172_645_463_325_252_u64;
    for _ in 0..100_000_000 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    hint::black_box(state);
    Ok(())
}

/// Two hundred thousand of the cheapest system calls.
fn call() -> io::Result<()> {
    for _ in 0..200_000 {
        hint::black_box(std::os::unix::process::parent_id());
    }
    Ok(())
}

/// 128 MiB of fresh memory, page by page.
fn touch() -> io::Result<()> {
    let mut memory = vec![0_u8; 128 << 20];
    memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    hint::black_box(&memory);
    Ok(())
}

/// The work of a build on a disk: three hundred sources are written, looked at and read, and as many objects are
/// written under another name first; then all goes away.
fn build() -> io::Result<()> {
    let folder = Path::new("/workspace/build");
    let source = [b'x'; 4096];
    fs::create_dir(folder)?;
    for index in 0..300 {
        fs::write(folder.join(format!("{index}.c")), source)?;
    }
    for index in 0..300 {
        let path = folder.join(format!("{index}.c"));
        let length = fs::metadata(&path)?.len();
        let text = fs::read(&path)?;
        assert_eq!(text.len() as u64, length);
        let (new, object) = (path.with_extension("new"), path.with_extension("o"));
        fs::write(&new, &text)?;
        fs::rename(&new, object)?;
    }
    fs::remove_dir_all(folder)
}

/// 48 MiB written to a file in memory, and read again, 64 KiB at a time.
fn copy() -> io::Result<()> {
    let path = Path::new("/dev/shm/copy");
    let mut block = vec![7_u8; 64 << 10];
    let mut file = File::create(path)?;
    for _ in 0..768 {
        file.write_all(&block)?;
    }
    let mut file = File::open(path)?;
    while file.read(&mut block)? > 0 {}
    fs::remove_file(path)
}

/// A hundred processes, one after the other.
fn spawn() -> io::Result<()> {
    for _ in 0..100 {
        let mut child = Command::new("/proc/self/exe");
        // With something to do in between, it is a plain fork. Else the C library calls clone3 and gives up if that is
        // not permitted, as gVisor does if a seccomp profile forbids it.
        unsafe { child.arg("nothing").pre_exec(|| Ok(())) };
        let status = child.status()?;
        assert!(status.success(), "{status}");
    }
    Ok(())
}
