// SPDX-License-Identifier: BSD-2-Clause
// What a stream of kind STREAM_SOCKET can do beyond reading and writing. Made by net/ (TCP, UDP over IPv4 and
// IPv6) and by kernel/ (AF_UNIX pairs); called by syscall_socket.c, which has checked lengths and brought
// addresses and options into kernel memory. Nothing here waits: -EAGAIN, -EINPROGRESS, and stream_notify.
#pragma once

#include "kernel/stream.h"

enum { // Linux's numbers
	AF_UNIX = 1,
	AF_INET = 2,
	AF_INET6 = 10,
	AF_NETLINK = 16,
	SOCK_STREAM = 1,
	SOCK_DGRAM = 2,
	SOCK_SEQPACKET = 5,
	SHUT_RD = 0,
	SHUT_WR = 1,
	SHUT_RDWR = 2,
	SOL_SOCKET = 1,
	SCM_RIGHTS = 1,
	SCM_CREDENTIALS = 2,
};
enum message_flag {
	MSG_OOB = 1,
	MSG_PEEK = 2,
	MSG_CTRUNC = 8,
	MSG_TRUNC = 0x20,
	MSG_DONTWAIT = 0x40,
	MSG_WAITALL = 0x100,
	MSG_ERRQUEUE = 0x2000,
	MSG_NOSIGNAL = 0x4000,
	MSG_MORE = 0x8000,
	MSG_WAITFORONE = 0x10000,
	MSG_ZEROCOPY = 0x4000000,
	MSG_CMSG_CLOEXEC = 0x40000000,
};

struct socket_address { // struct sockaddr of Linux, any family
	uint16_t family;
	uint8_t bytes[126];
	uint32_t len; // of the whole, family included; 0: none
};

struct socket_message {
	struct stream_io io;
	struct socket_address *name; // send: where to, or null; receive: filled, or null
	unsigned flags;		     // MSG_*: Linux's; MSG_DONTWAIT is the head's
	unsigned out_flags;	     // receive: MSG_TRUNC, MSG_ERRQUEUE ...
	// Ancillary data in kernel memory. Send: control_len bytes as the program gave them, 0 once they are sent.
	// Receive: room for control_size, control_len used (by control_put).
	void *control;
	uint32_t control_size, control_len;
};

// ---- kernel/control.c: ancillary data, struct cmsghdr of Linux ----
struct control {
	int level, type;
	const void *data;
	uint32_t len;
};
// The next one that a program sent, from *at (0 at first) on: 1; 0: no more; -EINVAL: malformed.
int control_next(const struct socket_message *m, uint32_t *at, struct control *out);
// Adds one to what a program receives; what does not fit is cut off, and MSG_CTRUNC set.
void control_put(struct socket_message *m, int level, int type, const void *data, uint32_t len);
uint32_t control_room(const struct socket_message *m); // bytes of data that the next may have

// ---- what a listening socket was told of and its program has not accepted yet: oldest first; WTDs off ----
struct accept_entry { // in the socket that waits
	struct accept_entry *next;
};
struct accept_queue { // all zero: empty
	struct accept_entry *first, *last;
	uint32_t queued, backlog; // how many wait, and how many may
};
static inline void accept_queue_add(struct accept_queue *q, struct accept_entry *entry)
{
	entry->next = NULL;
	*(q->first ? &q->last->next : &q->first) = entry;
	q->last = entry;
	q->queued++;
}
static inline struct accept_entry *accept_queue_take(struct accept_queue *q) // null: none waits
{
	struct accept_entry *entry = q->first;

	if (entry) {
		q->first = entry->next;
		q->queued--;
	}
	return entry;
}

struct socket_ops {
	int (*bind)(struct stream *s, const struct socket_address *name);
	int (*connect)(
	    struct stream *s,
	    const struct socket_address *name); // 0, -EINPROGRESS: poll for STREAM_OUT, then error
	int (*listen)(struct stream *s, int backlog);
	int (*accept)(struct stream *s, struct stream **out, struct socket_address *name);
	int (*name)(struct stream *s, bool peer, struct socket_address *out);
	int64_t (*send)(struct stream *s, struct socket_message *m);
	int64_t (*receive)(struct stream *s, struct socket_message *m);
	int (*shutdown)(struct stream *s, int how);
	int (*set_option)(struct stream *s, int level, int name, const void *value, uint32_t len);
	int (*get_option)(struct stream *s, int level, int name, void *value, uint32_t *len);
	int (*error)(struct stream *s); // SO_ERROR: told once
	// The head has told the program that error (positive), which read, write, send, receive or take_page had
	// answered: a pending one that it was is over. Null: who answers with an error has ended it.
	void (*told)(struct stream *s, int error);
	// Time-outs of SO_RCVTIMEO and SO_SNDTIMEO, which the head obeys; UINT64_MAX: none.
	uint64_t (*receive_timeout_ns)(struct stream *s);
	uint64_t (*send_timeout_ns)(struct stream *s);
};

// An int option's value; -EINVAL: too short. And the answer of one.
int socket_get_int(const void *value, uint32_t len, int *out) MUST_CHECK;
int socket_put_int(void *value, uint32_t *len, int n);
// SO_RCVTIMEO and SO_SNDTIMEO as nanoseconds, UINT64_MAX: none. 0, -EINVAL, -EDOM.
int socket_get_timeout(const void *value, uint32_t len, uint64_t *ns) MUST_CHECK;
int socket_put_timeout(void *value, uint32_t *len, uint64_t ns);

// The maker's answer about network interfaces; a program's address. Thread context.
int socket_ask_maker(unsigned request, uintptr_t argument);

// Whether a local socket (AF_UNIX) is bound to the file: for its type in stat. Any context but interrupt.
bool local_socket_at(uint64_t device, uint64_t number);
