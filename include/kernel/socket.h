// SPDX-License-Identifier: BSD-2-Clause
// What a stream of kind STREAM_SOCKET can do beyond reading and writing. Made by net/ (TCP, UDP over IPv4 and
// IPv6) and by kernel/ (AF_UNIX pairs); called by syscall_socket.c, which has checked lengths and brought
// addresses and options into kernel memory. Nothing here waits: -EAGAIN, -EINPROGRESS, and stream_notify.
#pragma once

#include "kernel/stream.h"

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
	void *control; // receive: ancillary data, `control_size` bytes of kernel memory
	uint32_t control_size, control_len;
};

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
	// Time-outs of SO_RCVTIMEO and SO_SNDTIMEO, which the head obeys; UINT64_MAX: none.
	uint64_t (*receive_timeout_ns)(struct stream *s);
	uint64_t (*send_timeout_ns)(struct stream *s);
};
