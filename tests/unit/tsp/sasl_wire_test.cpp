#include "common/tsp/sasl_wire.hpp"

#include <gtest/gtest.h>

#include "common/base/base64.hpp"

namespace dstm::tsp {
namespace {

using namespace std::string_literals;

TEST(TspSaslWire, AuthenticateLineNamesAMechanism) {
    EXPECT_EQ(parse_authenticate_line("AUTHENTICATE DIGEST-MD5").value(),
              (AuthenticateLine{"DIGEST-MD5", std::nullopt}));
    EXPECT_EQ(parse_authenticate_line("AUTHENTICATE plain ").value().mechanism, "PLAIN");
    for (const auto& bad :
         {""s, "AUTHENTICATE"s, "AUTHENTICATE "s, "AUTHENTICATE  PLAIN"s, "authenticate PLAIN"s,
          "AUTHENTICATE PLAIN\0"s, "AUTHENTICATE A+B"s, "AUTHENTICATE " + std::string(21, 'A')}) {
        EXPECT_FALSE(parse_authenticate_line(bad)) << bad;
    }
}

TEST(TspSaslWire, AuthenticateLineMayCarryAnInitialResponse) {
    EXPECT_EQ(parse_authenticate_line("AUTHENTICATE SCRAM-SHA-256 Zm9v").value(),
              (AuthenticateLine{"SCRAM-SHA-256", "foo"}));
    EXPECT_EQ(parse_authenticate_line("AUTHENTICATE EXTERNAL =").value(),
              (AuthenticateLine{"EXTERNAL", ""}));
    EXPECT_FALSE(parse_authenticate_line("AUTHENTICATE SCRAM-SHA-256 Zm9v x"));
    EXPECT_FALSE(parse_authenticate_line("AUTHENTICATE SCRAM-SHA-256 Zm9"));
}

TEST(TspSaslWire, PlainIsReadRawAsBase64AndBehindTheNulOfOldClients) {
    const auto message = "\0alice\0secret"s;
    EXPECT_EQ(decode_plain_line(message).value(), message);
    EXPECT_EQ(decode_plain_line("\0"s + message).value(), message);
    EXPECT_EQ(decode_plain_line(encode_base64(message)).value(), message);
    EXPECT_EQ(decode_plain_line("\0"s + encode_base64(message)).value(), message);
}

TEST(TspSaslWire, PlainKeepsAnAuthorizationIdentity) {
    const auto message = "bob\0alice\0secret"s;
    EXPECT_EQ(decode_plain_line(message).value(), message);
    EXPECT_EQ(decode_plain_line("\0"s + message).value(), message);
}

TEST(TspSaslWire, PlainOfAnotherShapeIsAnError) {
    for (const auto& bad :
         {"alice"s, "a\0b"s, "a\0b\0c\0d"s, "\0\0\0\0"s, "\0alice"s, "user secret"s}) {
        EXPECT_FALSE(decode_plain_line(bad)) << bad;
    }
}

TEST(TspSaslWire, PlainIsSentRawUnlessItNeedsMoreThanOneLine) {
    EXPECT_EQ(encode_plain_line("\0alice\0secret"s), "\0alice\0secret"s);
    const auto message = "\0alice\0two\r\nlines"s;
    EXPECT_EQ(decode_plain_line(encode_plain_line(message)).value(), message);
}

TEST(TspSaslWire, EmptyMessagesAreAnEmptyLineOrAnEqualsSign) {
    EXPECT_EQ(decode_sasl_line("").value(), "");
    EXPECT_EQ(decode_sasl_line("=").value(), "");
    EXPECT_FALSE(decode_sasl_line("=="));
}

}  // namespace
}  // namespace dstm::tsp
