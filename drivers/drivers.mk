# SPDX-License-Identifier: BSD-2-Clause
# The framebuffer console's font, from the distribution's package.
FONT ?= /usr/share/consolefonts/spleen-8x16.psfu.gz

$(FONT):
	@echo "The console font $(FONT) is missing: apt-get install fonts-spleen, or make FONT=file.psf" >&2
	@false

$(B)/font.c: drivers/font.py $(FONT)
	@mkdir -p $(@D)
	drivers/font.py $(FONT) >$@.tmp
	@mv $@.tmp $@
$(B)/drivers/font.o: $(B)/font.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -c -o $@ $<
OBJS += $(B)/drivers/font.o
