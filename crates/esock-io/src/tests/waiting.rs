//! Waiting for packets without a runtime, where there is one socket.

use super::address;
use super::pair::{End, fast, quiet};
use crate::config::{Backend, DriverConfig};
use crate::driver::Driver;
use esock_proto::{CloseReason, Encapsulation};
use std::net::UdpSocket;
use std::time::{Duration, Instant};

fn one_socket() -> DriverConfig {
    DriverConfig { addresses: vec![address("127.0.0.1")], ..quiet(Backend::Udp) }
}

#[test]
fn who_waits_is_woken_by_a_packet_and_has_all_that_have_come() {
    let mut driver = Driver::open(one_socket()).unwrap();
    let to = ("127.0.0.1", driver.backend().udp_port.unwrap());
    for packets in [1, 3, 20] {
        let sender = std::thread::spawn(move || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            std::thread::sleep(Duration::from_millis(50));
            (0..packets).for_each(|_| assert_eq!(socket.send_to(&[0; 12], to).unwrap(), 12));
        });
        let (start, mut received) = (Instant::now(), 0);
        while received < packets {
            driver.wait(Some(Duration::from_secs(60))).unwrap();
            // Whoever waits again before he turns loses nothing.
            driver.wait(Some(Duration::from_secs(60))).unwrap();
            received += driver.turn(driver.now()).unwrap().received;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
        sender.join().unwrap();
        assert_eq!(driver.turn(driver.now()).unwrap().received, 0);
    }
}

#[test]
fn who_waits_in_vain_waits_for_as_long_as_he_said() {
    let mut driver = Driver::open(one_socket()).unwrap();
    for millis in [1, 30, 45, 150] {
        let (start, timeout) = (Instant::now(), Duration::from_millis(millis));
        driver.wait(Some(timeout)).unwrap();
        assert!(start.elapsed() >= timeout, "{:?} of {timeout:?}", start.elapsed());
        assert_eq!(driver.turn(driver.now()).unwrap().received, 0);
    }
}

#[test]
fn who_waits_is_woken_by_a_report() {
    let at = [address("127.0.0.1")];
    let mut config = fast();
    config.rto_initial = Duration::from_secs(120);
    (config.rto_max, config.rto_min) = (config.rto_initial, config.rto_initial);
    let mut end = End::open(one_socket(), &at, config);
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let start = Instant::now();
    end.connect(&at, 2905, Encapsulation::Udp(port));
    end.driver.flush(end.driver.now());
    while end.closed().is_none() && start.elapsed() < Duration::from_secs(60) {
        end.driver.wait(Some(Duration::from_secs(60))).unwrap();
        end.turn();
    }
    assert_eq!(end.closed(), Some(&CloseReason::Unreachable));
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

#[cfg(target_os = "linux")]
#[test]
fn an_alarm_is_readable_from_its_time_on_until_it_is_set_anew() {
    use crate::wait::{Interest, wait};
    use std::os::fd::AsRawFd;
    let alarm = crate::Alarm::new().unwrap();
    let rings =
        |patience| wait([Interest { fd: alarm.as_raw_fd(), writable: false }].into_iter(), patience).unwrap().has(0);
    assert!(!rings(Some(Duration::ZERO)), "it is not set");
    let at = crate::clock::now() + Duration::from_millis(30);
    alarm.set(at).unwrap();
    assert!(!rings(Some(Duration::ZERO)) && rings(None));
    assert!(crate::clock::now() >= at);
    alarm.set(at + Duration::from_secs(3600)).unwrap();
    assert!(!rings(Some(Duration::ZERO)));
    alarm.set(esock_proto::Time::ZERO).unwrap();
    assert!(rings(None), "a time that is over");
}
