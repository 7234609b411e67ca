// SPDX-License-Identifier: BSD-2-Clause
// What the WebDAV methods have in common: the Depth and Timeout fields, answers with a precondition that
// failed. Fast WTD context.
#pragma once

#include "server/http_conn.h"

struct dav_lock;

#define DAV_DEPTH_INFINITY 2
// 0, 1, DAV_DEPTH_INFINITY (also when there is no such field), or -1: none of them.
int dav_depth(const struct http_exchange *x);
// Whether there is a Depth field.
bool dav_has_depth(const struct http_exchange *x);
// An answer whose body is <D:error> with the empty element of that name (section 16).
void dav_precondition(struct http_exchange *x, uint16_t status, const char *element);
// 423, with the address of the resource that was locked in the element. Who may neither read nor list
// there is told nothing but the status.
void dav_answer_locked(struct http_exchange *x, const char *element, const struct dav_lock *lock);
// Makes x->made an XML document of `text`. False: no memory, and it was answered.
bool dav_answer_xml(struct http_exchange *x, uint16_t status, const char *text, size_t len);
