// SPDX-License-Identifier: BSD-2-Clause
// The world around the HTTP server for host tests: a TCP that the test plays by hand, a volume of made-up
// files, a cache that misses when told to, a log that is kept.
//
//	world_start();                          // after shim_init
//	pcb = world_connect(1);                 // a client at 10.0.0.1
//	world_say(pcb, "GET / ...", 0);         // in one piece; n: in pieces of n bytes
//	world_settle();                         // disk, jobs, acknowledgements until nothing moves
//	... world_heard(pcb) is what the client has got so far ...
//	world_finish();                         // fails the test on anything not given back
#pragma once

#include "fs/inode.h"
#include "lwip/tcp.h"

struct world_knobs {
	unsigned name_miss;  // out of 100 look-ups wait
	unsigned page_miss;  // out of 100 pages are not in the cache
	unsigned page_error; // out of 100 pages read cannot be read
	bool no_acks;	     // world_settle acknowledges nothing
	uint32_t snd_buf;    // of new connections
	unsigned write_wait; // out of 100 writes wait for room
	bool no_room;	     // all writes wait, until it is cleared
	int write_error;     // of writes, from byte write_error_at of any file on
	uint64_t write_error_at;
	int sync_error, durable_error, remove_error;
	const char *remove_error_path; // whose removal fails
	bool no_commit;		       // nothing becomes durable
	bool read_only;
	uint64_t blocks_free, blocks_reserved;
};
extern struct world_knobs world;

extern uint64_t world_names; // name_generation

void world_start(void);
void world_finish(void);
// A file's bytes are world_byte(number, offset). `path` without a leading slash.
struct inode *world_file(const char *path, uint64_t number, uint64_t size);
struct inode *world_directory(const char *path, uint64_t number);
void world_link(const char *path, uint64_t number, const char *target); // a symbolic link
char *world_value(struct inode *inode,
		  const char *name); // an extended attribute's place: up to 31 bytes
uint8_t world_byte(uint64_t number, uint64_t offset);
// What a file that was written has, or null: no such file. *len: its size.
const uint8_t *world_bytes(const char *path, uint64_t *len);
struct inode *world_find(const char *path); // no reference; null: none
unsigned world_inodes(void);		    // with a name or without
// What the world's transactions look like from outside: changes so far, and how many of them are durable.
extern uint64_t world_changes, world_committed;
// The page at `index` of the file cannot be read.
void world_spoil(struct inode *inode, uint64_t index);

struct tcp_pcb *world_connect(unsigned host);
void world_say_bytes(struct tcp_pcb *pcb, const void *bytes, size_t len, size_t piece);
void world_say(struct tcp_pcb *pcb, const char *text, size_t piece);
void world_fin(struct tcp_pcb *pcb);
void world_reset(struct tcp_pcb *pcb);
// A segment has come for it: whether it is there, parked no more. World_say, world_fin and world_reset ask first, and
// do nothing where there is no memory to wake it (world_no_pcbs).
bool world_wakes(struct tcp_pcb *pcb);
extern bool world_no_pcbs;
void world_address_goes(struct tcp_pcb *pcb);	     // of a parked one
void world_ack(struct tcp_pcb *pcb, uint32_t bytes); // at most what is queued
bool world_gone(const struct tcp_pcb *pcb);	     // closed or aborted by the server
// Runs work and acknowledges until nothing moves any more.
void world_settle(void);
// Does one thing: a piece of work or an acknowledgement. False: there was nothing to do.
bool world_step(void);
const char *world_heard(const struct tcp_pcb *pcb);

// The k-th write (0: the next) and every later one fails with ERR_MEM until world_writes_ok.
void world_fail_writes(unsigned k);
void world_writes_ok(void);
unsigned world_writes(void); // so far
extern char world_log[];     // the access log
extern bool world_log_full;
extern unsigned world_pages_wired;
extern unsigned world_buffers; // received, and not freed by the server

// The users file's text; null: there is none. The hash of password "secret" is "$argon2id$secret".
void world_users(const char *text);
extern uint64_t world_hidden;	// the inode that is the server's own; 0: none
extern unsigned world_verified; // passwords, so far
