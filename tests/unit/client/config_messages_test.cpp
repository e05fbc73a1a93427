// Bad configurations, and the one message that each of them gets: file, line, and what would be
// right.
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "client/config.hpp"
#include "client/parts.hpp"
#include "tests/unit/client/temporary_directory.hpp"

namespace dstm::client {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Bad {
    std::string text;
    std::string message;
};

// The settings stand in line 2.
Bad setting(const std::string& line, const std::string& message) {
    return {"{ \"dstm-client\": {\n" + line + "\n} }", "c:2: " + message};
}

TEST(ClientConfigMessages, OneForEachMistakeInTheForm) {
    const std::vector<Bad> table{
        {"", "c:1: ends too early; it must be an object { ... }"},
        {"// nothing\n", "c:1: ends too early; it must be an object { ... }"},
        {"[]", "c:1: must be an object { ... }"},
        {"[dstm]\nserver=x\n", "c:1: here must be a value: a text in \"quotes\", a number, true, "
                               "false, { or ["},
        {"{ 'dstm-client': {} }", "c:1: here must be a key in \"quotes\""},
        {"{\n\"dstm-client\": {", "c:2: a } is missing at the end"},
        {"{ \"dstm-client\": {} }\n}", "c:2: there must be nothing behind the last }"},
        {"\xff\xfe{\0}", "c:1: is not UTF-8 text"},
        setting("\"server\": \"a\xff\"", "is not UTF-8 text"),
        setting("server: \"x\"", "here must be a key in \"quotes\""),
        setting("\"server: \"x\"", "a key must end with \" and be followed by :"),
        setting("\"server\" \"x\"", "a key must end with \" and be followed by :"),
        setting("\"server\": \"x", "a text must end with \" on its line"),
        setting("\"server\": \"a\tb\"", "a text must not hold control characters such as a tab"),
        setting("\"user\": \"a\\b\\x\"", "a \\ in a text must be written \\\\"),
        setting("\"server\": x", "here must be a value: a text in \"quotes\", a number, true, "
                                 "false, { or ["),
        setting("\"port\": 1 \"user\": \"a\"",
                "before this must be a comma, or } at the end of the object"),
        setting("\"routes\": [\"10.0.0.0/8\" 1]",
                "before this must be a comma, or ] at the end of the list"),
        setting("\"routes\": [\"10.0.0.0/8\",]", "there must be no comma before ]"),
        setting("\"keepalive\": 1.", "here must be a number such as 30"),
        {"{ \"dstm-client\": {\n\"port\": 3653,\n} }", "c:3: there must be no comma before }"},
    };
    for (const auto& [text, message] : table) {
        const auto settings = parse_settings(text, "c");
        ASSERT_FALSE(settings) << text;
        EXPECT_THAT(settings.error(), ElementsAre(message)) << text;
    }
}

TEST(ClientConfigMessages, OneForEachMistakeInAValue) {
    const std::vector<Bad> table{
        setting(R"("port": "3653")",
                "dstm-client.port: is a text; it must be an integer from 1 to 65535"),
        setting(R"("keepalive": 0.5)",
                "dstm-client.keepalive: is a fraction; it must be an integer from 0 to 86400"),
        setting(R"("mechanisms": "PLAIN")",
                "dstm-client.mechanisms: is a text; it must be a list of texts"),
        setting(R"("on-demand": true)",
                "dstm-client.on-demand: is true or false; it must be an object"),
        setting(R"("log-level": "INFO")",
                "dstm-client.log-level: \"INFO\" is not one of debug info warning error"),
        setting(R"("sever": "dstm.example")",
                "dstm-client.sever: unknown key; it must be \"server\""),
        setting(R"("password_file": "/x")",
                "dstm-client.password_file: unknown key; it must be \"password-file\""),
        setting(R"("on-demand": { "idle": 3 })",
                "dstm-client.on-demand.idle: unknown key; known are idle-timeout"),
        setting(R"("server": "2001:db8::zz")",
                "dstm-client.server: \"2001:db8::zz\" is not a host name or an IPv6 address; "
                "a port stands in \"port\""),
        setting(R"("server": "dstm.example:3653")",
                "dstm-client.server: \"dstm.example:3653\" is not a host name or an IPv6 address; "
                "a port stands in \"port\""),
        setting(R"("routes": ["10.0.0.0"])",
                "dstm-client.routes: \"10.0.0.0\" is not an IPv4 prefix such as 192.0.2.0/24 (host "
                "bits zero)"),
        setting(R"("password-file": "/etc/password")",
                "dstm-client.password-file: needs \"user\""),
        setting(R"("user": "a", "password-file": "secret")",
                "dstm-client.password-file: is not an absolute path"),
        {"{ \"dstm-client\": {\n\"port\": 1,\n\"port\": 2 } }",
         "c:3: dstm-client.port: given twice; it stands in line 2 already"},
        {"{ \"dstm-client\": null }", "c:1: dstm-client: is null; it must be an object"},
    };
    for (const auto& [text, message] : table) {
        const auto settings = parse_settings(text, "c");
        ASSERT_FALSE(settings) << text;
        EXPECT_THAT(settings.error(), ElementsAre(message)) << text;
    }
}

TEST(ClientConfigMessages, AByteOrderMarkIsNoMistake) {
    EXPECT_TRUE(parse_settings("\xef\xbb\xbf{ \"dstm-client\": {} }", "c"));
}

TEST(ClientConfigMessages, AFileThatCannotBeReadIsNamedByTheLineThatNamesIt) {
    const TemporaryDirectory directory;
    const auto password = directory.path() + "/password";
    std::ofstream(password) << "secret\n";
    const auto messages = [&](const std::string& line, bool may_be_missing = false) {
        const std::string first = R"({ "dstm-client": { "server": "x", "user": "a",)";
        const auto settings = parse_settings(first + '\n' + line + "} }", "c");
        EXPECT_TRUE(settings);
        return settings ? unusable_files(*settings, may_be_missing) : Mistakes{};
    };
    const auto names_it = "\"password-file\": \"" + password + '"';
    chmod(password.c_str(), 0644);
    EXPECT_THAT(messages(names_it),
                ElementsAre("c:2: dstm-client.password-file: password file " + password +
                            " can be read by others: chmod 0600 it"));
    chmod(password.c_str(), 0600);
    EXPECT_THAT(messages(names_it), IsEmpty());
    EXPECT_THAT(messages(R"("password-file": "/nonexistent/p")"),
                ElementsAre("c:2: dstm-client.password-file: password file /nonexistent/p: No such "
                            "file or directory"));
    EXPECT_THAT(messages(R"("password-file": "/nonexistent/p")", true), IsEmpty());
    EXPECT_THAT(messages(R"("tls": { "ca": "/nonexistent/ca" })"),
                ElementsAre("c:2: dstm-client.tls.ca: /nonexistent/ca: No such file or directory"));
}

TEST(ClientConfigMessages, AUserWithoutAPasswordIsNamedByItsLine) {
    ::unsetenv("DSTM_PASSWORD");
    ::unsetenv("CREDENTIALS_DIRECTORY");
    const auto settings = parse_settings("{ \"dstm-client\": {\n\"user\": \"a\" } }", "c");
    ASSERT_TRUE(settings);
    const auto identity = identity_of(*settings);
    ASSERT_FALSE(identity);
    EXPECT_EQ(identity.error().context,
              "c:2: dstm-client.user: no password: set \"password-file\", $DSTM_PASSWORD or the "
              "systemd credential dstm-password");
}

}  // namespace
}  // namespace dstm::client
