// SPDX-License-Identifier: BSD-2-Clause
// A client for tests of requests that change files, in the HTTP server's world (http_world.h), with write=on and
// a few files: "old" (20,000 bytes of the world's), "d/one", "d/deep/two", and a directory "empty".
#pragma once

#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "http_world.h"
#include "kernel/kstring.h"
#include "kernel/timer.h"
#include "server/http_conn.h"
#include "server/http_upload.h"
#include "shim.h"

#define H     " HTTP/1.1\r\nHost: x\r\n" // the end of a request line, and what no request is without
#define SIZE  20000
#define LARGE 300000

extern unsigned client_inodes;				   // at the start
extern char client_text[2 * LARGE], client_content[LARGE]; // a request; a body

// A world without files, http_config as it is at boot; write= as said.
void client_begin(const char *writing);
int client_setup(void **state);
int client_teardown(void **state);
void client_writing(const char *value); // "on", "off": the kernel's word write=
uint64_t client_metric(const char *name);
void client_pass(uint64_t ms);
int client_status(const struct tcp_pcb *pcb);		       // of its first answer; 0: none
void client_says(const struct tcp_pcb *pcb, const char *what); // or the test fails
// One request on a connection of its own, which must get that status; what was answered stays to be looked at.
struct tcp_pcb *client_ask(const char *request, int status);
void client_fill(size_t len); // client_content, at random
// A PUT's head into client_text, its body behind it (chunked: cut at random); their end.
size_t client_put_head(const char *name, size_t len, bool chunked, const char *fields);
size_t client_put_body(size_t at, size_t len, bool chunked);
void client_has_content(const char *path, size_t len); // the file has exactly client_content
void client_left_old(void);			       // every file is as it was at the start
