//! A journal whose disk is full: no new promise, no delivery that cannot be
//! written down, and everything again when space returns.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use comity::lab::LabError;
use comity_tests::{Outcome, ask, contracts, decide, lab, reaches, sql, waits_for};

/// A small file system of its own, gone at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one, or says nothing when this user may not.
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir_all(at).ok()?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs"]);
        let mounted = mount.arg(at).status().ok()?;
        mounted.success().then(|| Self(at.to_owned()))
    }

    /// Takes every byte that is left.
    fn fill(&self) -> std::io::Result<()> {
        let mut ballast = fs::File::create(self.ballast())?;
        for piece in [64 * 1024, 1] {
            while ballast.write_all(&vec![0; piece]).is_ok() {}
        }
        Ok(())
    }

    fn free(&self) -> std::io::Result<()> {
        fs::remove_file(self.ballast())
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the node may still be ending.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// The last page of a full disk still takes a few short records.
async fn until_refused<T, F: Future<Output = Result<T, LabError>>>(call: impl Fn() -> F) -> String {
    for _ in 0..200 {
        if let Err(refused) = call().await {
            return refused.to_string();
        }
    }
    panic!("a full disk takes everything");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_promises_and_deliveries_and_loses_nothing() -> Outcome {
    const COUNT: &str = r#"SELECT count(*) AS n FROM "weather-service".weather.weather"#;
    let (lab, _dir) = lab();
    if std::env::var_os("COMITY_TEST_NO_MOUNT").is_some() {
        eprintln!("left out: COMITY_TEST_NO_MOUNT is set");
        return Ok(());
    }
    let disk = SmallDisk::mount(&lab.dir().join("weather-service")).ok_or(
        "this user may not mount a small file system; COMITY_TEST_NO_MOUNT=1 leaves this test out",
    )?;
    let mut weather = lab.org("weather-service", "Weather Service", "").await?;
    let port = lab.org("port-authority", "Port Authority", "").await?;
    weather.federate(&port).await?;
    weather
        .publish(&contracts().join("weather-service/weather.odcs.yaml"))
        .await?;
    port.discovers("weather-service", "weather").await?;
    let first = ask(&port, "weather-service", "weather").await?;
    waits_for(&weather, &first.id).await?;
    decide(&weather, &first.id, "approve").await?;
    reaches(&port, &first.id, "FINALIZED").await?;
    assert_eq!(sql(&port, COUNT).await?[0]["n"], 26_115);
    let second = ask(&port, "weather-service", "weather").await?;
    waits_for(&weather, &second.id).await?;

    disk.fill()?;
    // What cannot be written down is not served.
    let refused = until_refused(|| sql(&port, COUNT)).await;
    assert!(refused.contains("unavailable"), "{refused}");
    // No promise; the answer says why.
    let refused = decide(&weather, &second.id, "approve").await.unwrap_err();
    assert!(refused.to_string().contains("disk"), "{refused}");
    let status = weather.status().await?;
    assert_eq!(status.agreements, 1);
    assert!(status.health.contains("disk is full"), "{}", status.health);

    disk.free()?;
    let approved = weather
        .until("space", || async {
            Ok(decide(&weather, &second.id, "approve").await.ok())
        })
        .await?;
    assert_eq!(approved.state, "FINALIZED");
    reaches(&port, &second.id, "FINALIZED").await?;
    assert_eq!(sql(&port, COUNT).await?[0]["n"], 26_115);
    weather.kill().await;
    weather.start().await?;
    assert_eq!(weather.status().await?.agreements, 2);
    Ok(())
}
