//! What each policy key lets through when it is opened, in words for the comments of a suggested policy.

/// Returns what the key lets through.
pub(super) fn meaning(key: &str) -> &'static str {
    match key {
        "labels.required" => {
            "Pods with another value of the label app; the NetworkPolicy has to select this label instead"
        }
        "annotations.allowed" => "an annotation that programs of the cluster or the cloud obey",
        "runtimeClass.allowed" => "every Pod under this runtime class, which has to run gVisor",
        "serviceAccount.allowed" => "every Pod as one of these accounts; its token stays away",
        "serviceAccount.automountToken" => {
            "the API server's token in every container; what it can do are the rights of the account"
        }
        "serviceAccount.tokens" => "a token for this service in every container",
        "lifecycle.restartPolicy.allowed" => "Pods that are started again after they end",
        "lifecycle.restartPolicy.allowedForJobs" => {
            "nothing more; it is empty because no deadline bounds the restarts of Jobs any more"
        }
        "lifecycle.containerRestartRules" => "restart rules of single containers",
        "lifecycle.activeDeadlineSeconds.default" => {
            "Pods that get no deadline, since these run until they are deleted"
        }
        "lifecycle.activeDeadlineSeconds.max" => "Pods that run longer than the full sandbox allows",
        "lifecycle.terminationGracePeriodSeconds.max" => {
            "Pods that run on for so many seconds after their end"
        }
        "placement.allowedTolerations" => "Pods on nodes with this taint",
        "placement.schedulerNames" => "Pods that another scheduler places",
        "placement.priorityClassNames" => "Pods that preempt others by this class",
        "security.runAsUser" => "every user id in this range",
        "security.runAsGroup" => "every group id in this range",
        "security.fsGroup" => "volumes that belong to any group in this range",
        "security.supplementalGroupsPolicy" => "the groups that an image's /etc/group gives its user",
        "security.root.runtimeClasses" => "user 0 inside the sandbox, in every container under these classes",
        "security.hostUsers" => "Pods without a user namespace",
        "security.seccompProfiles" => "this seccomp profile of the node, for every container",
        "security.capabilities.allowedAdd" => "this Linux capability, in every container",
        "security.readOnlyRootFilesystem" => "containers that write to their root file system",
        "security.seLinuxLevel" => "an SELinux level of the Pod's choice",
        "security.sysctls" => "this safe sysctl, with any value",
        "security.shareProcessNamespace" => "containers that see the processes of the others in their Pod",
        "volumes.writablePaths" => "volumes of the Pod's own that are writable at or below this path",
        "volumes.terminationMessagePaths" => "a termination message at this path",
        "volumes.emptyDir.maxSize" => "emptyDir volumes of this size on the node's disk",
        "volumes.emptyDir.maxMemory" => "emptyDir volumes of this size in the node's memory",
        "volumes.configMap.names" => "every Pod to read this ConfigMap",
        "volumes.downwardAPI" => "files with fields of the Pod",
        "volumes.image" => "volumes from the images that are allowed",
        "volumes.persistentVolumeClaim.names" => {
            "every Pod to read and write this claim, whatever it is bound to"
        }
        "volumes.ephemeral.storageClasses" => "volumes of this storage class that live as long as their Pod",
        "volumes.ephemeral.maxSize" => "ephemeral volumes of this size",
        "volumes.csi" => "inline volumes of this CSI driver, which the node mounts past every NetworkPolicy",
        "volumes.projected.clusterTrustBundles" => "files with this ClusterTrustBundle",
        "volumes.projected.podCertificateSigners" => "certificates for the Pod from this signer",
        "secrets.environment" => "every Pod to read this Secret as environment variables",
        "secrets.volumes" => "every Pod to read this Secret as files",
        "resources.container.limits" => "containers with a limit up to this amount",
        "resources.pod.limits" => "Pods whose containers have limits up to this amount together",
        "resources.extended" => "so many of these devices for each Pod, under these runtime classes",
        "resources.resourceClaimTemplates" => "the devices that this ResourceClaimTemplate asks for",
        "images.allowed" => "every image of this repository",
        "images.requireDigest" => "images that are named by a tag, which can be moved",
        _ => "what the key describes",
    }
}
