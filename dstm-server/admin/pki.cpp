// X.509 (RFC 5280) by OpenSSL's C interface; every object of it is owned by a unique_ptr.
#include "dstm-server/admin/pki.hpp"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <memory>
#include <string_view>

#include "common/base/ip_address.hpp"

namespace dstm::server {
namespace {

template <auto free_function>
struct Free {
    template <class T>
    void operator()(T* object) const {
        free_function(object);
    }
};
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using Bio = std::unique_ptr<BIO, Free<BIO_free_all>>;
using Extension = std::unique_ptr<X509_EXTENSION, Free<X509_EXTENSION_free>>;
using BigNumber = std::unique_ptr<BIGNUM, Free<BN_free>>;

constexpr std::size_t name_size_max = 64;  // RFC 5280 Appendix A: ub-common-name
constexpr std::size_t serial_size = 16;

tl::unexpected<Error> openssl_failed(const std::string& doing) {
    std::array<char, 256> text{};
    ERR_error_string_n(ERR_get_error(), text.data(), text.size());
    return fail(ErrorCode::internal, doing + ": " + text.data());
}

// Letters, digits and what stands in host names and addresses: it becomes a file name and a part of
// OpenSSL's extension syntax, where ',' and '/' have a meaning.
bool is_plain(std::string_view text, std::string_view others) {
    return !text.empty() && text.size() <= name_size_max && text.front() != '.' &&
           text.front() != '-' && std::ranges::all_of(text, [&](char c) {
               return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      others.find(c) != std::string_view::npos;
           });
}

// A new file, never one that is there; with its mode from the first moment.
Result<void> write_new(const std::string& path, mode_t mode, BIO* content) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0) return tl::unexpected<Error>(error_from_errno(errno, path));
    char* data = nullptr;
    const long size = BIO_get_mem_data(content, &data);
    const bool written =
        ::write(fd, data, static_cast<std::size_t>(size)) == size && ::fsync(fd) == 0;
    const int error = errno;
    ::close(fd);
    if (written) return {};
    ::unlink(path.c_str());
    return tl::unexpected<Error>(error_from_errno(error, path));
}

Result<void> write_pair(const std::string& stem, EVP_PKEY* key, X509* certificate) {
    const Bio key_text(BIO_new(BIO_s_mem()));
    const Bio certificate_text(BIO_new(BIO_s_mem()));
    if (PEM_write_bio_PrivateKey(key_text.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1 ||
        PEM_write_bio_X509(certificate_text.get(), certificate) != 1) {
        return openssl_failed("write " + stem);
    }
    if (auto written = write_new(stem + ".key", 0600, key_text.get()); !written) return written;
    auto written = write_new(stem + ".crt", 0644, certificate_text.get());
    if (!written) ::unlink((stem + ".key").c_str());
    return written;
}

Bio open_to_read(const std::string& path) { return Bio(BIO_new_file(path.c_str(), "r")); }

struct Authority {
    Certificate certificate;
    Key key;
};

Result<Authority> load_authority(const std::string& directory) {
    const auto stem = directory + "/ca";
    const Bio certificate_file = open_to_read(stem + ".crt");
    const Bio key_file = open_to_read(stem + ".key");
    ERR_clear_error();
    if (!certificate_file || !key_file) {
        return fail(ErrorCode::not_found, stem + ".crt and ca.key cannot be read; run init first");
    }
    Authority authority{
        Certificate(PEM_read_bio_X509(certificate_file.get(), nullptr, nullptr, nullptr)),
        Key(PEM_read_bio_PrivateKey(key_file.get(), nullptr, nullptr, nullptr))};
    if (!authority.certificate || !authority.key) return openssl_failed("read " + stem);
    return authority;
}

bool set_serial(X509* certificate) {
    std::array<unsigned char, serial_size> bytes{};
    if (RAND_bytes(bytes.data(), bytes.size()) != 1) return false;
    bytes[0] &= 0x7f;  // RFC 5280 s4.1.2.2: positive
    const BigNumber number(BN_bin2bn(bytes.data(), bytes.size(), nullptr));
    return number &&
           BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr;
}

bool set_subject(X509* certificate, const std::string& common_name) {
    return X509_NAME_add_entry_by_NID(X509_get_subject_name(certificate), NID_commonName,
                                      MBSTRING_UTF8,
                                      reinterpret_cast<const unsigned char*>(common_name.data()),
                                      static_cast<int>(common_name.size()), -1, 0) == 1;
}

bool set_times(X509* certificate, const CertificateTimes& times) {
    const std::time_t now = std::time(nullptr);
    return ASN1_TIME_adj(X509_getm_notBefore(certificate), now, 0, times.begins.count()) &&
           ASN1_TIME_adj(X509_getm_notAfter(certificate), now, 0, times.ends.count());
}

struct ExtensionText {
    int nid;
    std::string value;
};

bool add_extensions(X509* certificate, X509* issuer, const std::vector<ExtensionText>& wanted) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    return std::ranges::all_of(wanted, [&](const ExtensionText& each) {
        const Extension extension(
            X509V3_EXT_conf_nid(nullptr, &context, each.nid, each.value.c_str()));
        return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
    });
}

// Signed by `authority`, or by itself when there is none.
Result<void> make_pair(const std::string& stem, const std::string& common_name,
                       const Authority* authority, const std::vector<ExtensionText>& extensions,
                       const CertificateTimes& times) {
    const Key key(EVP_EC_gen("P-256"));
    const Certificate certificate(X509_new());
    if (!key || !certificate) return openssl_failed("make a key");
    X509* issuer = authority != nullptr ? authority->certificate.get() : certificate.get();
    EVP_PKEY* signer = authority != nullptr ? authority->key.get() : key.get();
    const bool made =
        X509_set_version(certificate.get(), X509_VERSION_3) == 1 && set_serial(certificate.get()) &&
        set_subject(certificate.get(), common_name) &&
        X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer)) == 1 &&
        set_times(certificate.get(), times) && X509_set_pubkey(certificate.get(), key.get()) == 1 &&
        add_extensions(certificate.get(), issuer, extensions) &&
        X509_sign(certificate.get(), signer, EVP_sha256()) > 0;
    if (!made) return openssl_failed("make the certificate of " + common_name);
    return write_pair(stem, key.get(), certificate.get());
}

}  // namespace

Result<void> pki_init(const std::string& directory, const std::string& common_name,
                      CertificateTimes times) {
    if (!is_plain(common_name, ".-_ ")) return fail(ErrorCode::invalid, "not a name for a CA");
    if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
        return tl::unexpected<Error>(error_from_errno(errno, directory));
    }
    return make_pair(directory + "/ca", common_name, nullptr,
                     {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
                      {NID_key_usage, "critical,keyCertSign,cRLSign"},
                      {NID_subject_key_identifier, "hash"}},
                     times);
}

Result<void> pki_issue(const std::string& directory, const std::string& name,
                       const std::vector<std::string>& hosts, CertificateTimes times) {
    if (!is_plain(name, ".-_") || name == "ca") {
        return fail(ErrorCode::invalid,
                    "a name is 1-64 letters, digits, '.', '-', '_'; not \"ca\"");
    }
    std::string alternatives = "DNS:" + name;
    for (const auto& host : hosts) {
        if (const auto address = parse_ip_address(host)) {
            alternatives += ",IP:" + to_string(*address);
        } else if (is_plain(host, ".-_")) {
            alternatives += ",DNS:" + host;
        } else {
            return fail(ErrorCode::invalid, host + " is neither a host name nor an address");
        }
    }
    auto authority = load_authority(directory);
    if (!authority) return tl::unexpected<Error>(authority.error());
    return make_pair(directory + "/" + name, name, &*authority,
                     {{NID_basic_constraints, "critical,CA:FALSE"},
                      {NID_key_usage, "critical,digitalSignature"},
                      {NID_ext_key_usage, "serverAuth,clientAuth"},
                      {NID_subject_key_identifier, "hash"},
                      {NID_authority_key_identifier, "keyid:always"},
                      {NID_subject_alt_name, alternatives}},
                     times);
}

}  // namespace dstm::server
