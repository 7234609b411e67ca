// SPDX-License-Identifier: BSD-2-Clause
// Remembered requests: the short way through the read path's stages 5 to 7. Clients repeat a request's
// head byte for byte, so a head that was asked a second time and was answered with a whole file is kept, with the
// file that it named. Bytes that begin with exactly such a head need no
// parser: a head ends where it ends, whatever follows, and the same bytes mean the same request.
//
// What is remembered is the question, never the answer: the head of the answer is the inode's
// (http_file.h), pages are found anew each time, and a name that was made, removed or changed anywhere
// (name_generation) makes every entry void. A small file is queued at once. What takes longer (a larger one, no room
// in the send buffer, a page not in memory) becomes an exchange (http_conn.h) that begins with its answer. Fast WTD
// context.
#pragma once

#include "kernel/base.h"

struct http_conn;
struct http_exchange;

void http_recall_start(void);
// Answers the request that the bytes begin with, if it is remembered. How many bytes it was long; 0: nothing was done.
// With conn->x set afterwards the answer is not queued, or only a part of it: the exchange is to be run.
size_t http_recall(struct http_conn *conn, const char *bytes, size_t len);
// With "Connection: close" the connection lingers then (http_conn_linger).
// The same for a request that all of the bytes are, for an answer that is queued all at once, on a connection that
// stays, and is settled then. False: nothing was done.
bool http_recall_all(struct http_conn *conn, const char *bytes, size_t len);
// An exchange in its stage DONE: may be worth remembering.
void http_remember(const struct http_exchange *x);
// Gives up void entries; each holds its inode. At each tick.
void http_recall_age(void);
void http_recall_forget(void); // all of them
