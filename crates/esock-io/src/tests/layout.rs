//! What a C compiler makes of the system's headers is what we take it for.

use crate::sys::Control;
use std::fmt::Write as _;
use std::io::Write as _;
use std::mem::offset_of;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// What is told to whoever runs the tests without a C compiler.
const NEEDED: &str = "this test needs a C compiler and the kernel's headers (Debian: gcc libc6-dev linux-libc-dev)";

/// A structure as C sees it: name, size in bytes, offsets of its fields.
pub(crate) struct Layout {
    pub(crate) name: &'static str,
    /// `None` where only the beginning is ours: the kernel's has grown, and it fills what there is room for.
    pub(crate) size: Option<usize>,
    pub(crate) fields: Vec<(&'static str, usize)>,
}

/// Compares structures and constants with what the headers say. Returns how many lines were compared.
pub(crate) fn compare(headers: &[&str], layouts: &[Layout], constants: &[(&str, i64)]) -> usize {
    let mut ours = Vec::new();
    let mut program =
        String::from("#define _GNU_SOURCE\n#include <stddef.h>\n#include <stdint.h>\n#include <stdio.h>\n");
    headers.iter().for_each(|header| writeln!(program, "#include <{header}>").expect("text takes text"));
    program.push_str("int main(void) {\n");
    let mut print = |label: &str, value: &str, known: i64| {
        writeln!(program, "printf(\"%s %lld\\n\", \"{label}\", (long long)({value}));").expect("text takes text");
        ours.push(format!("{label} {known}"));
    };
    for Layout { name, size, fields } in layouts {
        if let Some(size) = size {
            print(&format!("sizeof {name}"), &format!("sizeof({name})"), *size as i64);
        }
        for (field, offset) in fields {
            print(&format!("offsetof {name} {field}"), &format!("offsetof({name}, {field})"), *offset as i64);
        }
    }
    constants.iter().for_each(|(name, value)| print(name, name, *value));
    program.push_str("return 0; }\n");
    let theirs = compile_and_run(&program);
    let differences: Vec<String> = ours
        .iter()
        .zip(theirs.lines())
        .filter(|(ours, theirs)| ours != theirs)
        .map(|(ours, theirs)| format!("ours `{ours}`, the header's `{theirs}`"))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(ours.len(), theirs.lines().count());
    ours.len()
}

/// Compiles and runs a C program and returns what it prints.
fn compile_and_run(source: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let binary = std::env::temp_dir().join(format!("esock-layout-{}-{number}", std::process::id()));
    let mut compiler = Command::new("cc")
        .args(["-std=gnu11", "-x", "c", "-", "-o"])
        .arg(&binary)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run `cc` ({error}): {NEEDED}"));
    // An error: the compiler has failed, which is told below.
    let _ = compiler.stdin.take().expect("it is piped").write_all(source.as_bytes());
    let output = compiler.wait_with_output().expect("it can be waited for");
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "`cc` failed: {NEEDED}\n{complaints}");
    let output = Command::new(&binary).output();
    std::fs::remove_file(&binary).expect("the compiler made it");
    String::from_utf8(output.expect("it was compiled for this host").stdout).expect("it prints ASCII")
}

macro_rules! structures {
    ($($c:literal $type:ty { $($field:ident)* })*) => {
        vec![$(Layout {
            name: $c,
            size: Some(size_of::<$type>()),
            fields: vec![$((stringify!($field), offset_of!($type, $field)),)*],
        },)*]
    };
}

#[test]
fn the_structures_of_the_system_that_we_hand_over_are_what_its_headers_say() {
    let mut layouts = structures! {
        "struct iovec" libc::iovec { iov_base iov_len }
        "struct msghdr" libc::msghdr {
            msg_name msg_namelen msg_iov msg_iovlen msg_control msg_controllen msg_flags
        }
        "struct mmsghdr" libc::mmsghdr { msg_hdr msg_len }
        "struct cmsghdr" libc::cmsghdr { cmsg_len cmsg_level cmsg_type }
        "struct in_pktinfo" libc::in_pktinfo { ipi_ifindex ipi_spec_dst ipi_addr }
        "struct in6_pktinfo" libc::in6_pktinfo { ipi6_addr ipi6_ifindex }
        "struct sockaddr" libc::sockaddr { sa_family sa_data }
        "struct sockaddr_in" libc::sockaddr_in { sin_family sin_port sin_addr }
        "struct sockaddr_in6" libc::sockaddr_in6 {
            sin6_family sin6_port sin6_flowinfo sin6_addr sin6_scope_id
        }
        "struct sockaddr_storage" libc::sockaddr_storage { ss_family }
        "struct sock_extended_err" libc::sock_extended_err {
            ee_errno ee_origin ee_type ee_code ee_pad ee_info ee_data
        }
        "struct sock_filter" libc::sock_filter { code jt jf k }
        "struct sock_fprog" libc::sock_fprog { len filter }
        "struct pollfd" libc::pollfd { fd events revents }
        "struct timespec" libc::timespec { tv_sec tv_nsec }
        "struct timeval" libc::timeval { tv_sec tv_usec }
        "struct sockaddr_un" libc::sockaddr_un { sun_family sun_path }
        "struct stat" libc::stat { st_dev st_ino st_mode }
        "fd_set" libc::fd_set { }
        "struct ifaddrs" libc::ifaddrs { ifa_next ifa_name ifa_flags ifa_addr ifa_netmask ifa_ifu ifa_data }
    };
    layouts.push(Layout {
        // Packed on x86-64.
        name: "struct epoll_event",
        size: Some(size_of::<libc::epoll_event>()),
        fields: vec![("events", offset_of!(libc::epoll_event, events)), ("data", offset_of!(libc::epoll_event, u64))],
    });
    layouts.push(Layout {
        name: "struct tcp_info",
        size: None,
        fields: vec![
            ("tcpi_rto", offset_of!(libc::tcp_info, tcpi_rto)),
            ("tcpi_snd_mss", offset_of!(libc::tcp_info, tcpi_snd_mss)),
            ("tcpi_unacked", offset_of!(libc::tcp_info, tcpi_unacked)),
            ("tcpi_last_data_recv", offset_of!(libc::tcp_info, tcpi_last_data_recv)),
            ("tcpi_last_ack_recv", offset_of!(libc::tcp_info, tcpi_last_ack_recv)),
            ("tcpi_pmtu", offset_of!(libc::tcp_info, tcpi_pmtu)),
            ("tcpi_rtt", offset_of!(libc::tcp_info, tcpi_rtt)),
            ("tcpi_rttvar", offset_of!(libc::tcp_info, tcpi_rttvar)),
            ("tcpi_snd_ssthresh", offset_of!(libc::tcp_info, tcpi_snd_ssthresh)),
            ("tcpi_snd_cwnd", offset_of!(libc::tcp_info, tcpi_snd_cwnd)),
        ],
    });
    let headers = [
        "sys/socket.h",
        "netinet/in.h",
        "poll.h",
        "time.h",
        "ifaddrs.h",
        "sys/epoll.h",
        "sys/select.h",
        "sys/stat.h",
        "sys/un.h",
        "linux/errqueue.h",
        "linux/filter.h",
        "linux/tcp.h",
    ];
    let compared = compare(&headers, &layouts, &[]);
    assert!(compared > 70, "only {compared} lines were compared");
}

/// Control messages as C writes them with the macros of its header.
const CONTROL: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
static struct cmsghdr *put(struct msghdr *header, struct cmsghdr *at, int level, int type, const void *value, size_t size) {
    at->cmsg_level = level;
    at->cmsg_type = type;
    at->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(at), value, size);
    return CMSG_NXTHDR(header, at);
}
int main(void) {
    union { char bytes[256]; struct cmsghdr aligned; } buffer;
    memset(&buffer, 0, sizeof buffer);
    struct msghdr header = { .msg_control = buffer.bytes, .msg_controllen = sizeof buffer.bytes };
    int tos = 2;
    unsigned short size = 1452;
    struct in_pktinfo info = { .ipi_ifindex = 7, .ipi_spec_dst = { htonl(0x0a000001) } };
    struct cmsghdr *at = CMSG_FIRSTHDR(&header);
    at = put(&header, at, IPPROTO_IP, IP_TOS, &tos, sizeof tos);
    at = put(&header, at, 17, 103, &size, sizeof size);
    at = put(&header, at, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
    for (char *byte = buffer.bytes; byte < (char *)at; byte++) printf("%02x", *(unsigned char *)byte);
    printf("\n%zu\n", _Alignof(struct cmsghdr));
    return 0;
}
"#;

#[test]
fn control_messages_lie_as_the_macros_of_c_put_them() {
    let mut control = Control::<256>::new();
    let aligned = control.as_received().0 as usize;
    control.push(libc::IPPROTO_IP, libc::IP_TOS, 2 as libc::c_int);
    control.push(libc::IPPROTO_UDP, libc::UDP_SEGMENT, 1452u16);
    control.push(
        libc::IPPROTO_IP,
        libc::IP_PKTINFO,
        libc::in_pktinfo {
            ipi_ifindex: 7,
            ipi_spec_dst: libc::in_addr { s_addr: u32::to_be(0x0a00_0001) },
            ipi_addr: libc::in_addr { s_addr: 0 },
        },
    );
    let (bytes, used) = control.as_sent();
    // SAFETY: `control` has so many bytes there, and is not touched meanwhile.
    let bytes = unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), used) };
    let ours: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let theirs = compile_and_run(CONTROL);
    let (written, alignment) = theirs.trim_end().split_once('\n').expect("it prints two lines");
    assert_eq!(ours, written);
    let alignment: usize = alignment.parse().expect("it prints a number");
    assert!(align_of::<Control<256>>() >= alignment && aligned.is_multiple_of(alignment), "{alignment}");
    // C finds the first message where the buffer begins.
    assert_eq!(aligned, (&raw const control) as usize);
}
