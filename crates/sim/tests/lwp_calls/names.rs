//! `_lwp_setname(2)` and `_lwp_getname(2)`.

use crate::common::{NOBODIES, NOBODY, asleep, zombie};
use lwp_abi::errno::Errno;
use lwp_abi::nr;
use lwp_sim::{NOWHERE, PID, User, int, run};

async fn getname(user: &User, lid: i32, to: u64, len: u64) -> Result<u64, Errno> {
    user.call(nr::SYS_LWP_GETNAME, &[int(lid), to, len]).await
}

#[test]
pub(crate) fn a_name_comes_back_and_a_long_one_is_cut() {
    run(|user| async move {
        assert_eq!(user.getname(PID).await.as_deref(), Ok(""));
        for (set, got) in [
            ("x", "x"),
            ("exactly15bytes!", "exactly15bytes!"),
            ("sixteen bytes!!!", "sixteen bytes!!"),
            ("a name far too long for it", "a name far too "),
            ("", ""),
        ] {
            assert_eq!(user.setname(0, set).await, Ok(()));
            assert_eq!(user.getname(PID).await.as_deref(), Ok(got));
            assert_eq!(user.getname(0).await.as_deref(), Ok(got));
        }
    });
}

#[test]
pub(crate) fn a_name_may_end_at_the_end_of_memory() {
    run(|user| async move {
        let page = user.memory().alloc(4096);
        user.memory().write(b"abc\0", page + 4092).unwrap();
        let set = user.call(nr::SYS_LWP_SETNAME, &[0, page + 4092]).await;
        assert_eq!(set, Ok(0));
        assert_eq!(user.getname(0).await.as_deref(), Ok("abc"));
        // One that goes on there cannot be read, unless enough of it can.
        user.memory().write(b"defg", page + 4092).unwrap();
        let set = user.call(nr::SYS_LWP_SETNAME, &[0, page + 4092]).await;
        assert_eq!(set, Err(Errno::EFAULT));
        assert_eq!(user.getname(0).await.as_deref(), Ok("abc"));
        let long = b"sixteen-letters!";
        user.memory().write(long, page + 4080).unwrap();
        let set = user.call(nr::SYS_LWP_SETNAME, &[0, page + 4080]).await;
        assert_eq!(set, Ok(0));
        let cut = user.getname(0).await;
        assert_eq!(cut.as_deref(), Ok("sixteen-letters"));
    });
}

#[test]
pub(crate) fn another_lwp_may_be_named() {
    run(|user| async move {
        let lid = user.spawn(|user| async move {
            user.park().await.unwrap();
            assert_eq!(user.getname(0).await.as_deref(), Ok("other"));
        });
        let lid = lid.await.unwrap();
        asleep(&user, lid, "parked").await;
        user.setname(lid, "other").await.unwrap();
        assert_eq!(user.getname(lid).await.as_deref(), Ok("other"));
        user.unpark(lid).await.unwrap();
        user.wait(lid).await.unwrap();
    });
}

#[test]
pub(crate) fn setname_of_a_bad_address_is_efault_before_esrch() {
    run(|user| async move {
        for lid in [PID, NOBODY] {
            let set = user.call(nr::SYS_LWP_SETNAME, &[int(lid), NOWHERE]).await;
            assert_eq!(set, Err(Errno::EFAULT));
        }
    });
}

#[test]
pub(crate) fn setname_of_nobody_or_a_zombie_is_esrch() {
    run(|user| async move {
        let dead = zombie(&user).await;
        for nobody in NOBODIES
            .into_iter()
            .chain([dead])
            .filter(|&nobody| nobody != 0)
        {
            assert_eq!(user.setname(nobody, "x").await, Err(Errno::ESRCH));
        }
    });
}

#[test]
pub(crate) fn getname_of_nobody_is_esrch_before_efault() {
    run(|user| async move {
        let dead = zombie(&user).await;
        for nobody in NOBODIES
            .into_iter()
            .chain([dead])
            .filter(|&nobody| nobody != 0)
        {
            assert_eq!(getname(&user, nobody, NOWHERE, 16).await, Err(Errno::ESRCH));
        }
    });
}

#[test]
pub(crate) fn getname_to_a_bad_address_is_efault() {
    run(|user| async move {
        assert_eq!(getname(&user, 0, NOWHERE, 16).await, Err(Errno::EFAULT));
    });
}

#[test]
pub(crate) fn getname_without_room_is_enametoolong_and_stores_what_fits() {
    run(|user| async move {
        let to = user.put(&[b'?'; 16]);
        // Not even the NUL of no name fits in nothing.
        for len in [0, 1 << 32] {
            assert_eq!(getname(&user, 0, to, len).await, Err(Errno::ENAMETOOLONG));
            assert_eq!(
                getname(&user, 0, NOWHERE, len).await,
                Err(Errno::ENAMETOOLONG)
            );
        }
        assert_eq!(user.get::<u8>(to), b'?');
        assert_eq!(getname(&user, 0, to, 1).await, Ok(0));
        assert_eq!(user.get::<[u8; 2]>(to), *b"\0?");
        user.setname(0, "abcdefgh").await.unwrap();
        assert_eq!(getname(&user, 0, to, 5).await, Err(Errno::ENAMETOOLONG));
        assert_eq!(user.get::<[u8; 6]>(to), *b"abcde?");
        assert_eq!(getname(&user, 0, to, 9).await, Ok(0));
        assert_eq!(user.get::<[u8; 10]>(to), *b"abcdefgh\0?");
        assert_eq!(getname(&user, 0, to, 1000).await, Ok(0));
    });
}
