# SPDX-License-Identifier: BSD-2-Clause
# Programs of the distribution, static, as judges of what programs find (docs/linux-abi.md): not changed, but for how they
# are configured. nginx is built with musl from its source package, iperf3 of the package's own static library, the
# test suite of busybox comes out of its source package. What was built is kept beside what was fetched: in
# ${XDG_CACHE_HOME:-~/.cache}/pagewire, under a name that changes with this file.
PROGRAMS       := $(B)/programs
PROGRAMS_CACHE := $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/pagewire
PROGRAMS_MK    := tests/programs/programs.mk
NGINX_DIR      ?=
BUSYBOX_DIR    ?=

NGINX_OPTIONS := --with-cc=musl-gcc --with-ld-opt=-static --prefix=/nginx --without-pcre \
	$(addprefix --without-http_,rewrite_module gzip_module auth_basic_module proxy_module fastcgi_module \
	uwsgi_module scgi_module grpc_module memcached_module ssi_module charset_module)

# Its headers ask for crypt.h, which Debian's musl leaves to others; what it declares, musl has in unistd.h.
$(PROGRAMS)/nginx: $(PROGRAMS_MK) tools/fetch
	@mkdir -p $(PROGRAMS)/nginx-src $(PROGRAMS)/include $(PROGRAMS_CACHE)
	@: >$(PROGRAMS)/include/crypt.h
	@kept=$(PROGRAMS_CACHE)/nginx-1.26.3-static-$$(cksum <$(PROGRAMS_MK) | tr ' ' -) && \
	if [ ! -x "$$kept" ]; then \
		set -e; \
		if [ -n "$(NGINX_DIR)" ]; then cp -R "$(NGINX_DIR)/." $(PROGRAMS)/nginx-src/; else \
			tarball=$$(tools/fetch nginx nginx_1.26.3.orig.tar.gz \
				69ee2b237744036e61d24b836668aad3040dda461fe6f570f1787eab570c75aa \
				NGINX_DIR https://nginx.org/); \
			tar -xmf "$$tarball" -C $(PROGRAMS)/nginx-src --strip-components=1; fi; \
		include=$$(cd $(PROGRAMS)/include && pwd); \
		(cd $(PROGRAMS)/nginx-src && ./configure $(NGINX_OPTIONS) --with-cc-opt="-O1 -w -I$$include" && \
			$(MAKE) -s -j2) >$(PROGRAMS)/nginx.log 2>&1 || { tail -20 $(PROGRAMS)/nginx.log >&2; exit 1; }; \
		cp $(PROGRAMS)/nginx-src/objs/nginx "$$kept.$$$$"; mv "$$kept.$$$$" "$$kept"; \
	fi; \
	cp "$$kept" $@

# libiperf.a with glibc; the library's own interface (libiperf(3)) makes the program of it.
$(PROGRAMS)/iperf3: tests/programs/iperf3.c $(PROGRAMS_MK)
	@mkdir -p $(@D)
	@gcc -static -O1 -w -o $@ $< -liperf -lssl -lcrypto -lsctp -lm 2>$@.log || { cat $@.log >&2; exit 1; }

$(PROGRAMS)/busybox-testsuite/.ready: $(PROGRAMS_MK) tools/fetch
	@rm -rf $(@D) && mkdir -p $(@D)
	@set -e; if [ -n "$(BUSYBOX_DIR)" ]; then cp -R "$(BUSYBOX_DIR)/testsuite/." $(@D)/; else \
		tarball=$$(tools/fetch busybox busybox_1.37.0.orig.tar.bz2 \
			3311dff32e746499f4df0d5df04d7eb396382d7e108bb9250e7b519b837043a4 \
			BUSYBOX_DIR https://busybox.net/); \
		tar -xmf "$$tarball" -C $(@D) --strip-components=2 --wildcards '*/testsuite'; fi
	@touch $@

# All of them: a test that runs in a network namespace of its own cannot fetch anything.
.PHONY: programs
programs: $(PROGRAMS)/nginx $(PROGRAMS)/iperf3 $(PROGRAMS)/busybox-testsuite/.ready

# docs/linux-abi.md: what passes of busybox's test suite here, and what does on Linux (root, for chroot).
.PHONY: abi-list
abi-list:
	@$(MAKE) --no-print-directory -s all
	@/usr/bin/python3 tests/e2e/suite.py
