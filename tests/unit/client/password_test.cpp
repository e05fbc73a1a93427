// Where the password may come from, and which files are refused.
#include "client/auth/password.hpp"

#include <cstdlib>
#include <fstream>
#include <vector>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "temporary_directory.hpp"

namespace dstm::client {
namespace {

class ClientPassword : public testing::Test {
protected:
    std::string file(const std::string& name, const std::string& content, mode_t mode) {
        const auto path = directory_.path() + '/' + name;
        std::ofstream(path) << content;
        chmod(path.c_str(), mode);
        return path;
    }
    void TearDown() override {
        unsetenv("DSTM_PASSWORD");
        unsetenv("CREDENTIALS_DIRECTORY");
    }
    TemporaryDirectory directory_;
};

TEST_F(ClientPassword, FileOfMode0600IsReadWithoutItsLineEnd) {
    const auto password = find_password(file("p", "wonder\"land \n", 0600));
    ASSERT_TRUE(password) << password.error().context;
    EXPECT_EQ(password->reveal(), "wonder\"land ");
    EXPECT_TRUE(find_password(file("q", "x", 0400)));
}

TEST_F(ClientPassword, FileThatOthersMayReadIsRefusedWithoutSayingWhatIsInIt) {
    for (const mode_t mode : std::vector<mode_t>{0640, 0604, 0644, 0660}) {
        const auto password = find_password(file("p", "secret", mode));
        ASSERT_FALSE(password) << mode;
        EXPECT_EQ(password.error().code, ErrorCode::refused);
        EXPECT_NE(password.error().context.find("chmod 0600"), std::string::npos);
        EXPECT_EQ(password.error().context.find("secret"), std::string::npos);
    }
}

TEST_F(ClientPassword, MissingEmptyHugeAndIrregularFilesAreErrors) {
    EXPECT_EQ(find_password(directory_.path() + "/none").error().code, ErrorCode::not_found);
    EXPECT_FALSE(find_password(file("empty", "\n", 0600)));
    EXPECT_FALSE(find_password(file("huge", std::string(2000, 'x'), 0600)));
    EXPECT_FALSE(find_password(directory_.path()));
}

TEST_F(ClientPassword, CredentialsDirectoryComesBeforeTheEnvironment) {
    EXPECT_EQ(find_password("").error().code, ErrorCode::not_found);
    setenv("DSTM_PASSWORD", "from-environment", 1);
    EXPECT_EQ(find_password("")->reveal(), "from-environment");
    file("dstm-password", "from-credential", 0400);
    setenv("CREDENTIALS_DIRECTORY", directory_.path().c_str(), 1);
    EXPECT_EQ(find_password("")->reveal(), "from-credential");
    EXPECT_EQ(find_password(file("p", "from-file", 0600))->reveal(), "from-file");
}

}  // namespace
}  // namespace dstm::client
