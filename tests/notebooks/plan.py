"""What the lessons are tested for."""

from __future__ import annotations

# The mistake that each lesson's checks must notice: what to change in one of its solutions, and what the hint says.
SABOTAGE = {
    "01_undercomplete_autoencoder": (
        ("return error(model(test), test), ", "return error(model(train), train), "),
        "The network's error is that on the training images",
    ),
    "02_contractive_autoencoder": (
        ("slopes = codes * (1 - codes)", "slopes = tf.ones_like(codes)"),
        "This is weight decay, the sum of the squared weights",
    ),
    "03_sparse_autoencoder": (
        ('Dense(units, activation="relu"', 'Dense(units, activation="sigmoid"'),
        "A sigmoid comes near zero and never gets there",
    ),
    "04_denoising_autoencoder": (
        ("    target = images", "    target = corrupt(images)"),
        "The target is noisy: the network learns to give the noise back",
    ),
    "05_deep_or_shallow": (
        ("copy.set_weights(encoder.get_weights())", "copy.get_weights()"),
        "not its weights: what was learnt is lost",
    ),
    "06_anomaly_detection": (
        ("scores, fraud = validation", "scores, fraud = test"),
        "The threshold changes with the labels of the test part",
    ),
    "07_variational_autoencoder": (
        ("np.sum(by_pixel, axis=1)", "np.mean(by_pixel, axis=1)"),
        "The log-likelihood is averaged over the pixels",
    ),
    "08_generative_adversarial_networks": (
        (
            "optimiser.apply(slopes, discriminator.trainable_variables)",
            "optimiser.build(discriminator.trainable_variables)",
        ),
        "The discriminator didn't move",
    ),
    "09_best_practices": (
        ("variable.assign(value)", "variable.numpy()"),
        "The optimiser's state is lost",
    ),
    "10_large_scale": (
        ("tf.reduce_sum(losses) / (len(losses) * count)", "tf.reduce_sum(losses) / len(losses)"),
        "That is the mean over this worker's own rows",
    ),
    "11_the_machine": (
        ('environment["SLURMD_NODENAME"]', 'environment["SLURM_SUBMIT_HOST"]'),
        "That is the host from which the job was sent, here the log-in node",
    ),
}
# What the median over the seeds has to reach, where each seed may be somewhat worse: a band's name and its limit.
MEDIANS = {"08_generative_adversarial_networks": ("digits: Frechet distance / floor", 1.25)}
# Lessons with fewer than five plots.
PLOTS = {"11_the_machine": 3}
# They begin first.
SLOWEST = ("06_anomaly_detection", "08_generative_adversarial_networks", "10_large_scale")
SEEDS = (0, 1, 2)
