// SPDX-License-Identifier: BSD-2-Clause
// Sockets of programs, between the stream head (include/kernel/socket.h) and lwIP's raw interface: what
// socket.c, socket_tcp.c and socket_udp.c share. Calls come in thread context; lwIP is called, and its callbacks
// run, with fast WTDs kept out of each other: (W) in the lock keys below means WTDs off.
//
// Received data waits in the receive buffers it came in and is copied once, out of them, by stream_io_out; what
// is sent is copied once into pages that go to the card by reference, or not at all (sendfile).
#pragma once

#include "kernel/socket.h"
#include "lwip/ip_addr.h"

struct socket_common {
	struct stream stream;
	bool v6;      // constant
	bool v6_only; // own calls, one at a time
	bool reuse_address, reuse_port, broadcast;
	int error;			    // (W) told by SO_ERROR once; positive
	uint64_t receive_ns, send_ns;	    // SO_RCVTIMEO, SO_SNDTIMEO; UINT64_MAX: none
	uint32_t receive_bytes, send_bytes; // as set: SO_RCVBUF, SO_SNDBUF
};
static inline struct socket_common *socket_common(struct stream *s)
{
	return CONTAINER_OF(s, struct socket_common, stream);
}

void socket_init(void); // boot: programs find sockets
int socket_tcp_new(bool v6, struct stream **out) MUST_CHECK;
int socket_udp_new(bool v6, struct stream **out) MUST_CHECK;
int socket_netlink_new(int type, int protocol, struct stream **out) MUST_CHECK;

// 0, or -EAFNOSUPPORT, -EINVAL. An IPv4 address for an IPv6 socket must be mapped (::ffff:a.b.c.d).
int socket_to_ip(const struct socket_common *c, const struct socket_address *name, ip_addr_t *ip,
		 uint16_t *port) MUST_CHECK;
void socket_from_ip(const struct socket_common *c, const ip_addr_t *ip, uint16_t port,
		    struct socket_address *out);
// A peer's address that is none is this machine's, as Linux has it. WTDs off.
void socket_peer_ip(ip_addr_t *ip);

// Who may share a port, as socket(7) and Linux have it: those that all had SO_REUSEPORT when they were bound (there is
// one user), and, as long as none of them listens, those that all had SO_REUSEADDR. Bits of so_options that are free.
enum { SHARES_ADDRESS = 0x40, SHARES_PORT = 0x80 };
uint8_t
socket_share_bits(const struct socket_common *c); // with SOF_REUSEADDR, for lwIP's own check
bool socket_share_may(uint8_t mine, uint8_t other, bool other_listens);
bool socket_same_place(const ip_addr_t *a, const ip_addr_t *b); // one packet may be for both

bool socket_may_bind(const ip_addr_t *ip); // -EADDRNOTAVAIL if not. WTDs off.
int socket_error_of(int8_t err);	   // lwIP's err_t as a negative errno

// ---- socket_iface.c ----
// Calls about network interfaces, on any socket. -ENOTTY: none of them.
int socket_iface_ioctl(unsigned request, uintptr_t argument);
// Interfaces as programs have them, by number. WTDs off.
enum { SOCKET_IFACE_LOOPBACK = 1, SOCKET_IFACE_NAME = 16, SOCKET_IFACE_QUEUE = 1000 };
struct iface *socket_iface_card(int number); // null: there is none, or it is the loopback interface
bool socket_iface_there(int number);
int socket_iface_number(const struct netif *netif);
int socket_iface_find(const char *name); // 0: there is none of that name
void socket_iface_name(int number, char name[SOCKET_IFACE_NAME]);
uint32_t socket_iface_flags(int number); // IFF_*
uint32_t socket_iface_mtu(int number);
uint16_t socket_iface_hardware(int number); // ARPHRD_*

// ---- socket_udp_option.c ----
// What UDP sockets tell of a datagram beside its bytes, and are told: IP_PKTINFO and its kin.
struct udp_notes { // of a datagram that came
	ip_addr_t to;
	int interface;
	uint8_t ttl, tos;
};
struct udp_options {
	bool tell_to, tell_ttl, tell_tos; // (W)
};
struct udp_pcb;
void socket_udp_note(struct udp_notes *out); // in lwIP's receive callback
void socket_udp_tell(bool v6, const struct udp_options *o, const struct udp_notes *notes,
		     struct socket_message *m);
// The address that a message is to be sent from: 1; 0: it says nothing about that; -EINVAL.
int socket_udp_source(const struct socket_message *m, ip_addr_t *from) MUST_CHECK;
int socket_udp_set(bool v6, struct udp_options *o, struct udp_pcb *pcb, int level, int name,
		   int n); // -ENOPROTOOPT
int socket_udp_get(bool v6, const struct udp_options *o, const struct udp_pcb *pcb, int level,
		   int name, int *n);

// Options that both kinds have. -ENOPROTOOPT: not one of them.
int socket_set_common(struct stream *s, int level, int name, const void *value, uint32_t len);
int socket_get_common(struct stream *s, int level, int name, int type, void *value, uint32_t *len);
int socket_take_error(struct stream *s);
void socket_told(struct stream *s, int error); // struct socket_ops
uint64_t socket_receive_timeout(struct stream *s);
uint64_t socket_send_timeout(struct stream *s);
