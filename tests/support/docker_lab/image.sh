# image.sh BUSYBOX FOLDER: writes the image's files to stdout as tar: a static busybox with all its commands, a page of
# 10,000 bytes and a page that costs cpu under /www, and `burn SECONDS`.
set -e
busybox=$1 image=$2/image
mkdir -p "$image/bin" "$image/etc" "$image/tmp" "$image/www/cgi-bin"
cp "$busybox" "$image/bin/busybox"
for command in $("$busybox" --list); do
    [ "$command" = busybox ] || ln -s busybox "$image/bin/$command"
done
echo root:x:0:0::/:/bin/sh >"$image/etc/passwd"
head -c 10000 /dev/zero | tr '\0' x >"$image/www/index.html"
cat >"$image/www/cgi-bin/burn" <<'END'
#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\n'
dd if=/dev/zero bs=1M count=20 2>/dev/null | md5sum
END
cat >"$image/bin/burn" <<'END'
#!/bin/sh
exec timeout -s KILL "$1" sh -c 'while :; do :; done'
END
chmod +x "$image/www/cgi-bin/burn" "$image/bin/burn"
tar -C "$image" -c .
rm -r "$image"
