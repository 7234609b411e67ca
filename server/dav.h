// SPDX-License-Identifier: BSD-2-Clause
// What the WebDAV methods have in common: the Depth and Timeout fields, answers with a precondition that
// failed. Fast WTD context.
#pragma once

#include "server/http_conn.h"

#define DAV_DEPTH_INFINITY 2
// 0, 1, DAV_DEPTH_INFINITY (also when there is no such field), or -1: none of them.
int dav_depth(const struct http_exchange *x);
// Whether there is a Depth field.
bool dav_has_depth(const struct http_exchange *x);
// An answer whose body is <D:error> with the element of that name (section 16). A copy of `inside` stands in
// it; null: it is empty.
void dav_precondition(struct http_exchange *x, uint16_t status, const char *element);
// The same about a resource: its address stands in the element.
void dav_precondition_at(struct http_exchange *x, uint16_t status, const char *element,
			 const char *path, size_t len);
// Makes x->made an XML document of `text`. False: no memory, and it was answered.
bool dav_answer_xml(struct http_exchange *x, uint16_t status, const char *text, size_t len);
