//! What a node remembers across restarts, crashes and reboots.

use super::*;

fn version(text: &str) -> Version {
    text.parse().expect("a valid version")
}

fn deployed(folder: &Folder, text: &str) {
    folder.begin_deploy(&version(text)).expect("begun");
    folder.complete(&version(text)).expect("completed");
}

fn reboot(mut folder: Folder) -> Folder {
    folder.boot = "another-boot".to_owned();
    folder
}

#[test]
fn a_directory_without_a_completion_mark_is_not_there() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = Folder::open(place.path()).expect("opened");
    folder.begin_deploy(&version("1")).expect("begun");
    fs::write(folder.version(&version("1")).join("half"), "x").expect("written");
    assert_eq!(folder.read().expect("read").copies[&version("1")], Copy::Failed { again: true });
    deployed(&folder, "1");
    assert_eq!(folder.read().expect("read").copies[&version("1")], Copy::Complete);
    assert!(!folder.version(&version("1")).join("half").exists(), "a deploy starts in an empty directory");
}

#[test]
fn a_mark_counts_after_a_reboot_only_once_it_is_durable() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = Folder::open(place.path()).expect("opened");
    deployed(&folder, "1");
    deployed(&folder, "2");
    folder.make_durable(&[version("2")]).expect("synchronised");
    let copies = reboot(folder).read().expect("read").copies;
    assert_eq!(copies[&version("1")], Copy::Failed { again: true });
    assert_eq!(copies[&version("2")], Copy::Complete);
}

#[test]
fn what_is_live_is_vouched_for_until_a_reboot_or_another_rollout() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = Folder::open(place.path()).expect("opened");
    deployed(&folder, "1");
    folder.begin_rollout(&version("1")).expect("begun");
    assert_eq!(folder.read().expect("read").rollout, Rollout::Unknown);
    folder.rolled_out(&version("1")).expect("noted");
    assert_eq!(folder.read().expect("read").rollout, Rollout::Live(version("1")));
    assert_eq!(fs::read(place.path().join("current")).expect("written"), b"1", "without a newline");
    folder.begin_rollout(&version("2")).expect("begun");
    let local = folder.read().expect("read");
    assert_eq!((local.rollout, local.served), (Rollout::Unknown, Some(version("1"))));
    folder.rolled_out(&version("1")).expect("noted");
    let local = reboot(folder).read().expect("read");
    assert_eq!((local.rollout, local.served), (Rollout::Unknown, Some(version("1"))));
}

#[test]
fn a_scripts_own_current_is_read_and_its_link_left_alone() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = Folder::open(place.path()).expect("opened");
    deployed(&folder, "1");
    folder.rolled_out(&version("1")).expect("noted");
    fs::write(place.path().join("current"), "2\n").expect("written");
    assert_eq!(folder.read().expect("read").rollout, Rollout::Unknown, "somebody says something else");
    fs::remove_file(place.path().join("current")).expect("removed");
    std::os::unix::fs::symlink("1", place.path().join("current")).expect("linked");
    folder.rolled_out(&version("1")).expect("noted");
    assert!(place.path().join("current").is_symlink());
    assert_eq!(folder.read().expect("read").rollout, Rollout::Live(version("1")));
}

#[test]
fn the_originals_directories_are_taken_over_once_and_only_when_confirmed() {
    let place = tempfile::tempdir().expect("a folder");
    for name in ["1", "2", "3"] {
        fs::create_dir(place.path().join(name)).expect("made");
    }
    fs::write(place.path().join("current"), "2").expect("written");
    let folder = Folder::open(place.path()).expect("opened");
    assert!(folder.is_new());
    let adopted = folder.adopt(["1", "2", "3", "4"].map(version), |v| *v == version("1")).expect("adopted");
    assert_eq!(adopted, [version("1"), version("2")]);
    assert!(!folder.is_new());
    assert_eq!(folder.read().expect("read").copies.len(), 2, "the third is deployed again when it is wanted");
}

#[test]
fn a_removed_version_is_gone_with_its_mark() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = Folder::open(place.path()).expect("opened");
    deployed(&folder, "1");
    folder.remove(&version("1")).expect("removed");
    assert!(!folder.version(&version("1")).exists());
    assert!(folder.read().expect("read").copies.is_empty());
}

#[test]
fn a_second_agent_in_the_same_folder_is_refused() {
    let place = tempfile::tempdir().expect("a folder");
    let _first = Folder::open(place.path()).expect("opened");
    assert!(matches!(Folder::open(place.path()), Err(FolderError::Taken(_))));
}

#[test]
fn a_version_made_anew_while_the_disk_was_synchronised_is_not_marked() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = Folder::open(place.path()).expect("opened");
    for name in ["1", "2"] {
        deployed(&folder, name);
    }
    let before = folder.lives().clone();
    deployed(&folder, "1");
    folder.mark_durable(&["1", "2"].map(version), &before).expect("marked");
    let copies = reboot(folder).read().expect("read").copies;
    assert_eq!(copies[&version("1")], Copy::Failed { again: true });
    assert_eq!(copies[&version("2")], Copy::Complete);
}

#[test]
fn marks_written_at_once_do_not_disturb_each_other() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = Folder::open(place.path()).expect("opened");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..50 {
                    folder.complete(&version("1")).expect("completed");
                    folder.mark_durable(&[version("1")], &Lives::new()).expect("marked");
                    folder.remember_session(&round.to_string()).expect("remembered");
                }
            });
        }
    });
}
