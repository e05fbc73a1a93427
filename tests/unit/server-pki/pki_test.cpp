// The private CA: what is in the files, their modes, what is refused, what is never overwritten.
// That the certificates work in TLS is shown in tests/unit/io.
#include "dstm-server/admin/pki.hpp"

#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "support/temp_dir.hpp"

namespace dstm::server {
namespace {

using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;

Certificate read_certificate(const std::string& path) {
    std::unique_ptr<BIO, decltype(&BIO_free_all)> file(BIO_new_file(path.c_str(), "r"),
                                                       &BIO_free_all);
    if (!file) return {nullptr, &X509_free};
    return {PEM_read_bio_X509(file.get(), nullptr, nullptr, nullptr), &X509_free};
}

unsigned mode_of(const std::string& path) {
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0 ? status.st_mode & 0777 : 0;
}

std::string content(const std::string& path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

class PkiTest : public testing::Test {
protected:
    test::TempDir directory;
    std::string pki = directory / "pki";
};

TEST_F(PkiTest, KeysAreForTheOwnerOnly) {
    ASSERT_TRUE(pki_init(pki, "test CA"));
    ASSERT_TRUE(pki_issue(pki, "tep1"));
    EXPECT_EQ(mode_of(pki), 0700u);
    EXPECT_EQ(mode_of(pki + "/ca.key"), 0600u);
    EXPECT_EQ(mode_of(pki + "/tep1.key"), 0600u);
    EXPECT_EQ(mode_of(pki + "/tep1.crt") & 0444u, 0444u);
}

TEST_F(PkiTest, CertificateHasItsNamesAndIsSignedByTheCa) {
    ASSERT_TRUE(pki_init(pki, "test CA"));
    ASSERT_TRUE(pki_issue(pki, "dstm1", {"dstm1.campus.example", "2001:db8::1", "192.0.2.1"}));
    const auto ca = read_certificate(pki + "/ca.crt");
    const auto leaf = read_certificate(pki + "/dstm1.crt");
    ASSERT_TRUE(ca && leaf);
    EXPECT_EQ(X509_verify(leaf.get(), X509_get0_pubkey(ca.get())), 1);
    EXPECT_EQ(X509_check_ca(ca.get()), 1);
    EXPECT_EQ(X509_check_ca(leaf.get()), 0);
    for (const auto* host : {"dstm1", "dstm1.campus.example"}) {
        EXPECT_EQ(X509_check_host(leaf.get(), host, 0, 0, nullptr), 1) << host;
    }
    for (const auto* address : {"2001:db8::1", "192.0.2.1"}) {
        EXPECT_EQ(X509_check_ip_asc(leaf.get(), address, 0), 1) << address;
    }
    EXPECT_EQ(X509_check_host(leaf.get(), "dstm2", 0, 0, nullptr), 0);
    EXPECT_EQ(X509_check_purpose(leaf.get(), X509_PURPOSE_SSL_SERVER, 0), 1);
    EXPECT_EQ(X509_check_purpose(leaf.get(), X509_PURPOSE_SSL_CLIENT, 0), 1);
    EXPECT_EQ(EVP_PKEY_get_bits(X509_get0_pubkey(leaf.get())), 256);
}

TEST_F(PkiTest, CertificateIsGoodForTwoYears) {
    ASSERT_TRUE(pki_init(pki, "test CA"));
    ASSERT_TRUE(pki_issue(pki, "tep1"));
    const auto leaf = read_certificate(pki + "/tep1.crt");
    int days = 0;
    int seconds = 0;
    ASSERT_EQ(ASN1_TIME_diff(&days, &seconds, nullptr, X509_get0_notAfter(leaf.get())), 1);
    EXPECT_GE(days, 729);
    EXPECT_LE(days, 730);
    EXPECT_LT(X509_cmp_current_time(X509_get0_notBefore(leaf.get())), 0);
}

TEST_F(PkiTest, SerialNumbersDiffer) {
    ASSERT_TRUE(pki_init(pki, "test CA"));
    ASSERT_TRUE(pki_issue(pki, "tep1"));
    ASSERT_TRUE(pki_issue(pki, "tep2"));
    const auto one = read_certificate(pki + "/tep1.crt");
    const auto two = read_certificate(pki + "/tep2.crt");
    EXPECT_NE(
        ASN1_INTEGER_cmp(X509_get0_serialNumber(one.get()), X509_get0_serialNumber(two.get())), 0);
}

TEST_F(PkiTest, NothingIsOverwritten) {
    ASSERT_TRUE(pki_init(pki, "test CA"));
    ASSERT_TRUE(pki_issue(pki, "tep1"));
    const auto ca_key = content(pki + "/ca.key");
    const auto key = content(pki + "/tep1.key");
    EXPECT_EQ(pki_init(pki, "test CA").error().code, ErrorCode::conflict);
    EXPECT_EQ(pki_issue(pki, "tep1").error().code, ErrorCode::conflict);
    EXPECT_EQ(content(pki + "/ca.key"), ca_key);
    EXPECT_EQ(content(pki + "/tep1.key"), key);
    EXPECT_FALSE(key.empty());
}

TEST_F(PkiTest, CertificateThatCannotBeWrittenLeavesNoKeyBehind) {
    ASSERT_TRUE(pki_init(pki, "test CA"));
    std::filesystem::create_directory(pki + "/tep1.crt");
    EXPECT_FALSE(pki_issue(pki, "tep1"));
    EXPECT_FALSE(std::filesystem::exists(pki + "/tep1.key"));
}

TEST_F(PkiTest, WithoutACaNothingIsIssued) {
    EXPECT_EQ(pki_issue(pki, "tep1").error().code, ErrorCode::not_found);
}

TEST_F(PkiTest, NamesThatAreNoNamesAreRefused) {
    ASSERT_TRUE(pki_init(pki, "test CA"));
    for (const std::string bad : {"", "ca", "../tep1", "a/b", ".hidden", "-x", "a,DNS:b", "a b"}) {
        EXPECT_EQ(pki_issue(pki, bad).error().code, ErrorCode::invalid) << bad;
    }
    for (const std::string bad : {"", "a,IP:192.0.2.1", "a b", "*"}) {
        EXPECT_EQ(pki_issue(pki, "tep1", {bad}).error().code, ErrorCode::invalid) << bad;
    }
}

TEST_F(PkiTest, CommandLineDoesWhatItSays) {
    EXPECT_EQ(run_pki({"init", "--directory", pki}), 0);
    EXPECT_EQ(run_pki({"issue", "dstm1", "::1", "--directory", pki}), 0);
    EXPECT_TRUE(std::filesystem::exists(pki + "/dstm1.crt"));
    EXPECT_EQ(run_pki({"issue", "dstm1", "--directory", pki}), 1);
    EXPECT_EQ(run_pki({"--help"}), 0);
    for (const auto& bad : std::vector<std::vector<std::string>>{{},
                                                                 {"issue"},
                                                                 {"init", "x"},
                                                                 {"revoke", "x"},
                                                                 {"init", "--directory"},
                                                                 {"init", "-x"}}) {
        EXPECT_EQ(run_pki(bad), 2);
    }
}

}  // namespace
}  // namespace dstm::server
