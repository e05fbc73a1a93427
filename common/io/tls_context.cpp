// OpenSSL as links need it: TLS 1.3 (RFC 8446), both certificates, names by RFC 6125.
#include "common/io/tls_context.hpp"

#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "common/base/ip_address.hpp"

namespace dstm::io {
namespace {

Error bad_file(const std::string& what, const std::string& path, const ErrorCodeOfAsio& error) {
    return Error{ErrorCode::invalid, what + " " + path + ": " + error.message()};
}

}  // namespace

Result<ssl::context> make_tls_context(const TlsFiles& files, PeerCertificate peer) {
    ssl::context context(ssl::context::tls);
    SSL_CTX* const native = context.native_handle();
    if (SSL_CTX_set_min_proto_version(native, TLS1_3_VERSION) != 1) {
        return fail(ErrorCode::internal, "OpenSSL does not do TLS 1.3");
    }
    // No resumption: the certificates are looked at every time.
    SSL_CTX_set_session_cache_mode(native, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(native, 0);

    ErrorCodeOfAsio error;
    const bool is_required = peer != PeerCertificate::optional;
    if (is_required || !files.ca.empty()) {
        const auto mode = is_required ? ssl::verify_peer | ssl::verify_fail_if_no_peer_cert
                                      : ssl::verify_peer;
        context.set_verify_mode(mode, error);
        if (error) return fail(ErrorCode::internal, "verify mode: " + error.message());
        if (files.ca.empty()) {
            context.set_default_verify_paths(error);
        } else {
            context.load_verify_file(files.ca, error);
        }
        if (error) return tl::unexpected<Error>(bad_file("CA", files.ca, error));
    }
    if (peer == PeerCertificate::of_server && files.certificate.empty()) return context;
    context.use_certificate_chain_file(files.certificate, error);
    if (error) return tl::unexpected<Error>(bad_file("certificate", files.certificate, error));
    context.use_private_key_file(files.key, ssl::context::pem, error);
    if (error) return tl::unexpected<Error>(bad_file("key", files.key, error));
    return context;
}

Result<void> expect_host(TlsStream& stream, const std::string& host) {
    ErrorCodeOfAsio error;
    stream.set_verify_callback(ssl::host_name_verification(host), error);
    if (error) return fail(ErrorCode::internal, "verify callback: " + error.message());
    if (parse_ip_address(host)) return {};  // RFC 6066 s3: no address in the server name
    if (SSL_set_tlsext_host_name(stream.native_handle(), host.c_str()) != 1) {
        return fail(ErrorCode::invalid, "not a server name: " + host);
    }
    return {};
}

Result<std::string> peer_common_name(TlsStream& stream) {
    const X509* certificate = SSL_get0_peer_certificate(stream.native_handle());
    if (certificate == nullptr) return fail(ErrorCode::refused, "the peer has no certificate");
    const X509_NAME* subject = X509_get_subject_name(certificate);
    const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0) {
        return fail(ErrorCode::refused, "the peer's certificate has not exactly one CN");
    }
    const ASN1_STRING* name = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
    unsigned char* text = nullptr;
    const int size = ASN1_STRING_to_UTF8(&text, name);
    if (size < 0) return fail(ErrorCode::refused, "the CN of the peer's certificate is broken");
    std::string result(reinterpret_cast<const char*>(text), static_cast<std::size_t>(size));
    OPENSSL_free(text);
    return result;
}

}  // namespace dstm::io
