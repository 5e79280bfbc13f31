/* Preloaded into a program that uses OpenSSL: writes its TLS secrets to the file that SSLKEYLOGFILE names. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct ssl_ctx_st SSL_CTX;
typedef struct ssl_st SSL;
typedef void (*keylog_callback)(const SSL *, const char *);

static void append(const SSL *ssl, const char *line) {
    (void)ssl;
    const char *path = getenv("SSLKEYLOGFILE");
    char buffer[1024];
    size_t length = strlen(line);
    if (!path || length + 1 >= sizeof buffer) return;
    memcpy(buffer, line, length);
    buffer[length] = '\n';
    int file = open(path, O_WRONLY | O_APPEND | O_CREAT, 0666);
    if (file < 0) return;
    if (write(file, buffer, length + 1) < 0) { /* the capture is then without keys */ }
    close(file);
}

SSL *SSL_new(SSL_CTX *context) {
    static SSL *(*real_new)(SSL_CTX *);
    static void (*set_callback)(SSL_CTX *, keylog_callback);
    if (!real_new) {
        real_new = (SSL *(*)(SSL_CTX *))dlsym(RTLD_NEXT, "SSL_new");
        set_callback = (void (*)(SSL_CTX *, keylog_callback))dlsym(RTLD_NEXT, "SSL_CTX_set_keylog_callback");
    }
    if (context && set_callback) set_callback(context, append);
    return real_new(context);
}
