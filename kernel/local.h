// SPDX-License-Identifier: BSD-2-Clause
// Local sockets (AF_UNIX): streams, sequenced packets and datagrams between programs of this machine, with names, and
// with descriptors and credentials beside the bytes. local.c has their life, local_name.c their names,
// local_message.c what they carry, local_rights.c the descriptors under way.
//
//          bind, listen                     connect
//   FRESH --------------> LISTENING   FRESH ---------> CONNECTED <-- the new one that accept takes
//     | bind, connect (datagrams)              shutdown, close |
//     v                                                        v
//   FRESH, with or without a peer                        peer without us: end of file, EPIPE
//
// Lock key. (W): WTDs off. (R): the reader of its messages (kernel/message.h).
#pragma once

#include "kernel/message.h"
#include "kernel/socket.h"

#define LOCAL_NAME_MOST 108 // sun_path
#define LOCAL_INLINE	384 // bytes of a message that need no memory of their own

enum local_state { LOCAL_FRESH, LOCAL_LISTENING, LOCAL_CONNECTED };

struct local_socket;

struct local_credentials { // struct ucred
	int32_t pid;
	uint32_t uid, gid;
};

struct local_rights; // descriptors under way

// A packet, a datagram, or a piece of a stream.
struct local_message {
	struct message message;		 // first; its control part is the sender
	struct local_socket *from;	 // datagrams: a reference, for its name; else null
	struct local_rights *rights;	 // (W) or null
	struct local_credentials sender; // constant once it is put
	char *data;			 // inline_data, or kpages
	char inline_data[LOCAL_INLINE];
};

struct local_socket {
	struct stream stream;
	uint32_t references;			  // (W) the stream's, its peer's, messages'
	uint8_t type;				  // constant: SOCK_*
	uint8_t state;				  // (W) enum local_state
	bool closed, fin_seen, no_more_out, deaf; // (W) closed: the stream is gone
	bool pass_credentials;
	int error;				     // (W) SO_ERROR; positive
	struct local_socket *peer;		     // (W) a reference
	struct local_credentials of, peer_of;	     // as bound to a connection
	struct message_queue messages;		     // received
	struct local_rights *rights, **rights_end;   // (W) of these messages, in the same order
	struct accept_queue queue;		     // (W) listening
	struct accept_entry unaccepted;		     // (W) in such a queue
	struct local_socket *waits_for;		     // (W) a reference: has no room for us
	struct local_socket *waiting, *waiting_next; // (W) who waits for us
	uint64_t receive_ns, send_ns;		     // SO_RCVTIMEO, SO_SNDTIMEO
	uint32_t send_bytes;			     // SO_SNDBUF
	// Names (local_name.c).
	struct socket_address name; // (W) len 0: none
	struct local_socket *name_next;
	struct stream *file;	 // a path name's file, a reference
	uint64_t device, number; // and which it is
	// Under way itself (local_rights.c).
	struct local_socket *flying_next, *flying_prev; // (W)
	struct local_socket *alive_next;
	uint32_t outside; // (W) while collecting: references from what is not itself in question
	bool flies, in_question; // (W)
};

extern const struct stream_ops local_stream_ops;
static inline struct local_socket *local_of(struct stream *s)
{
	return CONTAINER_OF(s, struct local_socket, stream);
}
// Who waits to be accepted by that entry of a queue; null: nobody.
static inline struct local_socket *local_unaccepted(struct accept_entry *entry)
{
	return entry ? CONTAINER_OF(entry, struct local_socket, unaccepted) : NULL;
}

// ---- for syscall_socket.c: thread context of a program ----
int local_socket_new(int type, int protocol, struct stream **out) MUST_CHECK;
int local_socket_pair(int type, int protocol, struct stream *ends[2]) MUST_CHECK;

// ---- local.c ----
struct local_socket *local_make(int type) MUST_CHECK;		 // null: no memory
void local_get(struct local_socket *t);				 // WTDs off
void local_put(struct local_socket *t);				 // WTDs off
void local_join(struct local_socket *a, struct local_socket *b); // WTDs off: a and b are a pair
struct local_credentials local_self(void);			 // the running program's
void local_wait_for(struct local_socket *t,
		    struct local_socket *other); // WTDs off: poll says no until it has room
void local_has_room(struct local_socket *t);	 // WTDs off: who waits for t looks again

// ---- local_name.c ----
int local_bind(struct stream *s, const struct socket_address *name);
int local_connect(struct stream *s, const struct socket_address *name);
int local_listen(struct stream *s, int backlog);
int local_accept(struct stream *s, struct stream **out, struct socket_address *name);
int local_name(struct stream *s, bool peer, struct socket_address *out);
// Who has the name and is of that type, with a reference; -ECONNREFUSED, -EPROTOTYPE ...
int local_find(const struct socket_address *name, int type, struct local_socket **out) MUST_CHECK;
void local_unname(struct local_socket *t); // thread context: its name is free again

// ---- local_message.c ----
int64_t local_send(struct stream *s, struct socket_message *m);
int64_t local_receive(struct stream *s, struct socket_message *m);
int64_t local_write(struct stream *s, struct stream_io *io, uint64_t offset);
int64_t local_read(struct stream *s, struct stream_io *io, uint64_t offset);
bool local_room(const struct local_socket *t);	       // WTDs off: poll's word on it
uint32_t local_readable(const struct local_socket *t); // bytes the next receive can have

// ---- local_rights.c ----
// Ancillary data of a send as descriptors under way; null in *out: none. -EBADF, -EINVAL, -ETOOMANYREFS, -EPERM.
int local_rights_take(const struct socket_message *m, struct local_credentials *sender,
		      struct local_rights **out) MUST_CHECK;
void local_rights_attach(struct local_socket *to, struct local_message *message,
			 struct local_rights *r); // WTDs off: they fly
// A message's go to the running program; it keeps its own references.
void local_rights_receive(struct local_message *message, struct socket_message *m);
void local_rights_drop(struct local_rights *r); // any context but interrupt; may be null
struct local_rights *local_rights_detach(struct local_socket *t,
					 struct local_message *message); // WTDs off
