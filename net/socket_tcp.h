// SPDX-License-Identifier: BSD-2-Clause
// TCP sockets of programs: what socket_tcp.c (life and names), socket_listen.c,
// socket_tcp_io.c (bytes) and socket_tcp_option.c share.
//
//            bind             listen
//   FRESH ---------> FRESH ------------> LISTENING --connection--> a socket of its own in the queue --accept--> OPEN
//     | connect
//     v             established                FIN, reset, time-out, close
//   CONNECTING -----------------> OPEN ---------------------------------------> pcb gone
//
// Lock key: (W) WTDs off; (R) reader; (S) sender: mutexes held across copies, which may sleep.
#pragma once

#include "lwip/tcp.h"
#include "net/socket.h"

enum tcp_socket_state { FRESH, LISTENING, CONNECTING, OPEN };

// What a connection is to be like: a listener's are those of what it accepts.
struct tcp_options {
	bool nodelay, keepalive;
	int keep_idle, keep_interval, keep_count; // seconds, seconds, probes; 0: the stack's own
	int user_timeout; // TCP_USER_TIMEOUT: ms, RFC 5482; 0: the stack's own
	int tos, ttl;	  // IP_TOS or IPV6_TCLASS; ttl 0: the stack's own
	int defer;	  // TCP_DEFER_ACCEPT: a hint, remembered
	int receive;	  // SO_RCVBUF: the window's bytes, 0: it grows with the path
};

struct tcp_socket {
	struct socket_common common; // first
	struct tcp_pcb *pcb;	     // (W) null: lwIP has none for us
	enum tcp_socket_state state; // (W)
	// (W) Received, oldest first, linked through next; tot_len means nothing, for it has 16 bits. Only the
	// reader takes from the head.
	struct pbuf *in, *in_last;
	uint16_t in_offset;	    // (R) bytes of the head that were read
	uint32_t in_bytes;	    // (W) not read yet
	bool fin_seen, no_more_out; // (W) the peer's, our own
	bool deaf;		    // (W) SHUT_RD
	bool failed;		    // (W) connect did: it may be tried again
	bool cork, linger_on;
	struct tcp_options options; // (W)
	int linger_seconds;
	struct accept_queue queue;	// (W) listening: accepted by lwIP, not yet by the program
	struct accept_entry unaccepted; // (W) in such a queue
	// (W) Listening: a ring of those that share one port and one pcb of lwIP's (SO_REUSEPORT), itself among them.
	struct tcp_socket *next_listener;
	struct mutex reader, sender;
	struct page *page;	   // (S) a frame that small writes fill, wired; null
	uint32_t page_used;	   // (S)
	bool zerocopy_on;	   // SO_ZEROCOPY
	struct zerocopy *zerocopy; // (W) null: no such send yet
};

static inline struct tcp_socket *tcp_of(struct stream *s)
{
	return CONTAINER_OF(socket_common(s), struct tcp_socket, common);
}
static inline struct stream *stream_of(struct tcp_socket *t)
{
	return &t->common.stream;
}

// ---- socket_tcp.c ----
int tcp_socket_need_pcb(struct tcp_socket *t)
    MUST_CHECK; // WTDs off; made with the first call that needs one

void tcp_socket_drop_first(struct tcp_socket *t); // WTDs off: the head of what was received goes

struct tcp_socket *tcp_socket_make(bool v6) MUST_CHECK; // null: too many
void tcp_socket_attach(struct tcp_socket *t,
		       struct tcp_pcb *pcb);  // WTDs off: lwIP's callbacks are ours
void tcp_socket_detach(struct tcp_pcb *pcb);  // WTDs off: and are not any more
void tcp_socket_forget(struct tcp_socket *t); // WTDs off: has no pcb; gone with what was received

// ---- socket_listen.c ----
int tcp_socket_claim(struct tcp_socket *t, const ip_addr_t *ip,
		     uint16_t port) MUST_CHECK; // WTDs off: bind. 0, -EADDRINUSE, -ENOBUFS
int tcp_socket_listen(struct stream *s, int backlog);
int tcp_socket_accept(struct stream *s, struct stream **out, struct socket_address *name);
void tcp_socket_stop_listening(struct tcp_socket *t); // WTDs off: t->pcb is null then

// ---- socket_tcp_io.c: stream_ops and socket_ops ----
int64_t tcp_socket_read(struct stream *s, struct stream_io *io, uint64_t offset);
int64_t tcp_socket_write(struct stream *s, struct stream_io *io, uint64_t offset);
int64_t tcp_socket_receive(struct stream *s, struct socket_message *m);
int64_t tcp_socket_send(struct stream *s, struct socket_message *m);
int64_t tcp_socket_take_page(struct stream *s, struct page *page, uint32_t offset, uint32_t bytes,
			     bool more);
int64_t tcp_socket_lend(struct stream *s, uint32_t most, struct stream_loan *out);
int64_t tcp_socket_take_loan(struct stream *s, const struct stream_loan *loan, bool more);
unsigned tcp_socket_poll(struct stream *s);
// Bytes that can be queued now; -EAGAIN, or an error when there never will be room. WTDs off.
int64_t tcp_socket_room(struct tcp_socket *t);
int64_t tcp_socket_room_seen(struct tcp_socket *t); // the same with WTDs on: may be less later
// What is queued goes. Where the program says that more follows (TCP_CORK, MSG_MORE): only if there is no room for it.
void tcp_socket_push(struct tcp_socket *t);

// ---- socket_zerocopy.c ----
int64_t tcp_zerocopy_send(struct tcp_socket *t,
			  struct socket_message *m); // waits for room, if it may
int64_t tcp_zerocopy_receive(struct tcp_socket *t, struct socket_message *m); // MSG_ERRQUEUE
bool tcp_zerocopy_told(const struct tcp_socket *t); // WTDs off: there is something to be read there
void tcp_zerocopy_close(struct tcp_socket *t);	    // WTDs off

// ---- socket_tcp_option.c ----
void tcp_socket_apply(struct tcp_socket *t); // WTDs off: a new pcb gets the socket's options
// WTDs off: the connection has just been opened.
void tcp_socket_apply_window(struct tcp_socket *t);
int tcp_socket_ioctl(struct stream *s, unsigned request, uintptr_t argument);
int tcp_socket_set_option(struct stream *s, int level, int name, const void *value, uint32_t len);
int tcp_socket_get_option(struct stream *s, int level, int name, void *value, uint32_t *len);
