// SPDX-License-Identifier: BSD-2-Clause
// Messages at the stream head: what keeps its boundaries (datagrams, packets, a module's requests and answers) waits in
// a queue of messages until it is read, as with getmsg and putmsg of STREAMS. A message has a control part (who sent
// it, what it is about) and a data part; both lie where their maker put them, and the queue takes the message by
// reference: nothing is copied until the head copies it to a program, once (kernel/stream.c, site="stream_head"). A
// module of the kernel takes the message itself and passes it on, and nothing is copied at all.
//
//	maker --message_put--> [high] [high] [normal] [normal] ... --message_get, message_take--> reader
//	      <--back_enable-- at the low water mark, after a message_put was refused at the high one
//
// Programs see this as Linux shows it: recvmsg, MSG_TRUNC, MSG_PEEK; there is no getmsg call. Local sockets
// (kernel/local_message.c) and UDP sockets (net/socket_udp.c) keep their messages here.
//
// Lock key. (W): WTDs off. (R): the queue's reader, the only lock that is held while a program's memory is touched.
#pragma once

#include "kernel/stream.h"

// A band of higher priority is read first and has water marks of its own: normal messages cannot keep it out.
enum message_band { MESSAGE_NORMAL, MESSAGE_HIGH, MESSAGE_BANDS };

struct message;
struct message_queue;

struct message_kind {
	// The data from `offset` (below m->bytes) on: the address of the next contiguous piece, in the direct map,
	// mapped or not (cache=unmapped), and in *bytes how long it is. (R)
	const void *(*piece)(const struct message *m, uint32_t offset, uint32_t *bytes);
	void (*free)(struct message *m); // it is on no queue; any context but interrupt
};

// The maker's object begins with one, or has one inside.
struct message {
	const struct message_kind *kind;
	struct message *next;		    // (W)
	struct message_queue *queue;	    // (W) the last one it was put on; null: none yet
	const void *control;		    // null: none
	uint32_t control_bytes, control_at; // control_at: (R) read so far
	uint32_t bytes, at;		    // data; at: (R) read so far
	uint32_t cost;			    // bytes of memory, for the water marks; not 0
	uint8_t band;			    // enum message_band
};

struct message_queue {
	struct message_list {
		struct message *first, **end; // (W); only the reader takes from it
		uint32_t cost;		      // (W) of all of them
		bool full;		      // (W) somebody was refused: back_enable is due
	} bands[MESSAGE_BANDS];
	uint32_t high, low; // water marks of each band, in bytes of cost
	// There is room in a band again. WTDs off. Null: who was refused does not wait.
	void (*back_enable)(struct message_queue *q);
	struct stream *stream; // told when a message comes; null: nobody
	struct mutex reader;
};

void message_queue_init(struct message_queue *q, struct stream *stream, uint32_t high,
			void (*back_enable)(struct message_queue *q)); // low: half of high

// ---- putting: WTDs off, or a fast WTD ----

// Whether a message of that cost may go there: yes into an empty band, or up to the high water mark (or to `most`,
// where who sends has more). After a no, back_enable will tell.
bool message_may_put(struct message_queue *q, enum message_band band, uint32_t cost, uint32_t most);
// The message is the queue's. Its maker asked message_may_put, or has bounds of its own.
void message_put(struct message_queue *q, struct message *m);
// A band that has come to rest below its low water mark, with nobody refused: poll's word for room.
bool message_room(const struct message_queue *q, enum message_band band);

// ---- getting ----

unsigned
message_events(const struct message_queue *q); // STREAM_IN; STREAM_PRI: one of high priority

// The first of the highest band, which stays. (R), or WTDs off.
struct message *message_first(const struct message_queue *q);
// Takes it off, with its data and control by reference; the caller's now. Null: none. Any context but interrupt; beside
// a reader, (R).
struct message *message_take(struct message_queue *q);
void message_free(struct message *m); // any context but interrupt

// Thread context: bytes of the data part to a program, or to kernel memory. (R). 0, or -EFAULT.
int message_out(const struct message *m, struct stream_io *io, uint32_t offset,
		uint32_t bytes) MUST_CHECK;

enum message_get_flag {
	MESSAGE_PEEK = BIT(0), // it stays as it is
	MESSAGE_DISCARD =
	    BIT(1), // what there was no room for is lost; else it waits in front, as getmsg has it
	MESSAGE_ONLY_HIGH = BIT(2),
};
enum message_more { MORE_CONTROL = BIT(0), MORE_DATA = BIT(1) };
struct message_get {
	struct stream_io *control, *data; // null: that part is not asked for
	unsigned flags;			  // enum message_get_flag
	// Before it goes, with (R): for what lies beside the data. Null: nothing.
	void (*seen)(struct message *m, void *arg);
	void *arg;
	// Answer.
	unsigned more;			    // enum message_more: what was not read
	uint32_t control_bytes, data_bytes; // moved
	uint32_t whole;			    // bytes of data that it had
	enum message_band band;
};
// Reads one message, or the next part of it. Thread context; does not wait: -EAGAIN (stream_wait for STREAM_IN or
// STREAM_PRI, and again). 0; -EFAULT: then everything is as it was. A part that is not asked for stays with getmsg's
// rule (MORE_*), unless MESSAGE_DISCARD. With that, and without MESSAGE_PEEK, a message that met -EFAULT is lost, too,
// as a datagram of Linux is.
int message_get(struct message_queue *q, struct message_get *get) MUST_CHECK;

// Frees all of them; nobody is told. Thread context; nobody reads or puts any more.
void message_flush(struct message_queue *q);
